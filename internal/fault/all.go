package fault

import (
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// precedence orders the kinds: several errors together have the kind that comes
// first here. Kinds that no later try corrects come before the rest.
var precedence = []Kind{Interrupted, Misuse, Invalid, NotFound, Exists, Mismatch, Failed, Busy, NotReady}

// All returns one error for all findings in errs. It splits joined errors
// ([Each]), and equal texts count once. The text has the hint of each finding,
// in the lines in which programs print it; the last hint becomes that of the
// whole error. A single finding stays as it is; if there is none, All returns
// nil.
func All(errs ...error) error {
	var list []error
	for _, err := range Each(errors.Join(errs...)) {
		if !slices.ContainsFunc(list, func(e error) bool { return e.Error() == err.Error() }) {
			list = append(list, err)
		}
	}
	if len(list) == 0 {
		return nil
	}
	last := list[len(list)-1]
	if len(list) == 1 {
		return last
	}
	first := slices.MinFunc(list, func(a, b error) int {
		return slices.Index(precedence, Of(a)) - slices.Index(precedence, Of(b))
	})
	return &Error{Kind: Of(first), Hint: HintOf(last), Err: &multierror.Error{Errors: list, ErrorFormat: findingsText}}
}

// findingsText returns the text of all findings. A hint that the next finding
// has as well appears only there, and the hint of the last is not in the text,
// because programs print it after the text.
func findingsText(list []error) string {
	var lines []string
	for i, err := range list {
		lines = append(lines, err.Error())
		if hint := HintOf(err); hint != "" && i+1 < len(list) && hint != HintOf(list[i+1]) {
			lines = append(lines, "hint: "+strings.ReplaceAll(hint, "\n", "\nhint: "))
		}
	}
	return strings.Join(lines, "\n")
}

// Each returns the errors that errors.Join joined to err, in their order; err
// alone if it is not a joined error, and none for nil.
func Each(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var texts []string
	var list []error
	for _, e := range joined.Unwrap() {
		texts = append(texts, e.Error())
		list = append(list, Each(e)...)
	}
	if err.Error() != strings.Join(texts, "\n") {
		return []error{err} // made by fmt.Errorf, whose own text would be lost
	}
	return list
}
