package main

import "strings"

// rule replaces a phrase. A phrase is a list of elements, each a list of words of which one must be there; "*" is any word, and "..."
// any text up to the end of the line.
type rule struct {
	phrase [][]string
	except [][][]string // phrases that contain it and may stay
	write  string
	tests  bool // applies to _test.go files alone
}

// starting has the rules by the first word of their phrase.
var starting = index(table)

// table is the list of the style guide, and what was seen often besides. Words of one element are divided by "|", phrases by ",".
var table = []struct {
	phrases, except, write string
	tests                  bool
}{
	{phrases: "folder|folders|subfolder|subfolders", write: "directory"},
	{phrases: "workshop|workshops", write: "build machine"},
	{
		phrases: "goldens, the|a|this|that|each|every|one|another|any golden",
		except:  "* golden image|images|program|programs|recipe|recipes|module|user", write: "golden image (golden alone is the program)",
	},
	{phrases: "shall", write: "must, should"},
	{phrases: "wanted", write: "want"},
	{phrases: "want|wanted ... found, found ... want|wanted", write: "want X, got Y"},
	{phrases: "found %", write: "want X, got Y", tests: true},
	{phrases: "says|say|said|saying whether", write: "reports whether"},
	{phrases: "tells|tell", except: "tell|tells * apart, tell|tells * * apart, tell|tells * from, tell|tells * * from", write: "reports whether, says, shows"},
	{phrases: "where|what there is|are|was|were", write: "if there is no X, if one exists"},
	{
		phrases: "is|are|was|were|be no", except: "there is|are|was|were|be no, * no longer|more|other|later|earlier|larger|smaller|less|fewer|better|worse",
		write: "is not a valid X, is not X",
	},
	{phrases: "is|are|was|were|be none", except: "there is|are|was|were|be none", write: "is not X, if none exists"},
	{phrases: "somebody|nobody|anybody|everybody|someone", write: "another process, no other X, not created by X"},
	{phrases: "ours|theirs", write: "created by X, not created by X"},
	{phrases: "take|takes|took|taken|taking back", write: "roll back, remove, undo"},
	{phrases: "take|takes|took|taken|taking * back", write: "roll back, remove, undo"},
	{phrases: "let|lets|letting go, let|lets|letting * go", write: "remove, close, release"},
	{phrases: "half|halves", except: "half a|an|of|the, half hour|minute|second, one|and|other half, and a half", write: "partial, incomplete"},
	{phrases: "there already, already there", write: "already exists, conflicts with"},
	{phrases: "in the|its|their way, in * way of", except: "in the way that|of|in|a|an|the", write: "already exists, conflicts with, prevents"},
	{phrases: "lies|lain|lying", write: "is in, is at"},
	{phrases: "stands|stood|standing", except: "stands|stood|standing for, stands|stood|standing in for", write: "is in, is at"},
	{phrases: "stand", except: "stand for, stand in", write: "is in, is at"},
	{phrases: "begun", write: "started"},
	{phrases: "anew", write: "again"},
	{phrases: "upon", write: "on"},
	{phrases: "at most * are|is taken, at most * * are|is taken, at most * * * are|is taken", write: "exceeds the limit of N bytes"},
	{phrases: "goes|go|went|gone on", write: "continues"},
	{phrases: "in vain", write: "without success, timed out"},
	{phrases: "thereby|therein|thereof|whereof|thereon|hitherto|henceforth|whence|wherein|hereby", write: "a plain word"},
	{phrases: "mend|mends|mended|mending", write: "fix, repair, correct"},
	{phrases: "stranger|strangers", write: "unknown client, another program"},
	{phrases: "besides", write: "also, as well as"},
	{phrases: "of its kind, of their kind, of that kind, of this kind", write: "a plain word: like this"},
	{phrases: "gives|give|given|gave back", write: "returns"},
	{phrases: "comes|come|came to nothing", write: "has no effect, fails"},
}

func index(rows []struct {
	phrases, except, write string
	tests                  bool
},
) map[string][]*rule {
	m := map[string][]*rule{}
	for _, row := range rows {
		for phrase := range strings.SplitSeq(row.phrases, ",") {
			r := &rule{phrase: elements(phrase), write: row.write, tests: row.tests}
			for e := range strings.SplitSeq(row.except, ",") {
				if strings.TrimSpace(e) != "" {
					r.except = append(r.except, elements(e))
				}
			}
			for _, first := range r.phrase[0] {
				m[first] = append(m[first], r)
			}
		}
	}
	return m
}

func elements(phrase string) [][]string {
	var list [][]string
	for e := range strings.FieldsSeq(phrase) {
		list = append(list, strings.Split(e, "|"))
	}
	return list
}
