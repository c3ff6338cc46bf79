// Command release makes everything that a release has from the programs that "make build" wrote: packages for Debian, tarballs, a bill
// of materials, digests and a signature. The same programs, version and time give the same bytes. "make release" runs it; it reads
// and writes below the current directory, which must be the repository's root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/mail"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// options are what the caller decides.
type options struct {
	version    version
	programs   string    // directory with NAME-linux-ARCH
	out        string    // directory of the release, replaced as a whole
	time       time.Time // of every file in it
	arches     []string  // of the packages and tarballs; the programs of all are needed
	maintainer string    // of the packages: NAME <ADDRESS>
	key        string    // minisign's secret key; "" leaves the release unsigned
	password   string    // file with the password of key; "" if the key has none
}

// defaultMaintainer has an address that does not exist: who publishes packages gives their own, with MAINTAINER of "make release".
const defaultMaintainer = "The felhom developers <maintainers@felhom.example>"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	return release(ctx, o)
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	text := flags.String("version", "", "version, as `vX.Y.Z` or as git describe gives it")
	epoch := flags.String("epoch", "", "time of every file, in `SECONDS` since 1970")
	flags.StringVar(&o.programs, "programs", "dist", "`DIRECTORY` with the programs, as NAME-linux-ARCH")
	flags.StringVar(&o.out, "out", "dist/release", "`DIRECTORY` to write; an older release there is replaced, and anything else is refused")
	flags.StringVar(&o.maintainer, "maintainer", defaultMaintainer, "`NAME <ADDRESS>` of who answers for the packages")
	arches := flags.String("arch", strings.Join(architectures, " "), "`LIST` of architectures to make packages and tarballs for")
	flags.StringVar(&o.key, "key", "", "minisign's secret key `FILE` to sign with")
	flags.StringVar(&o.password, "password-file", "", "`FILE` with the key's password")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.version, err = parseVersion(*text); err != nil {
		return o, err
	}
	o.out, o.arches = filepath.Clean(o.out), strings.Fields(*arches)
	for _, arch := range o.arches {
		if !slices.Contains(architectures, arch) {
			return o, fmt.Errorf("-arch: want some of %s, got %q", strings.Join(architectures, ", "), arch)
		}
	}
	if err := checkMaintainer(o.maintainer); err != nil {
		return o, err
	}
	seconds, err := strconv.ParseInt(*epoch, 10, 64)
	if err != nil || seconds <= 0 {
		return o, fmt.Errorf("-epoch: want seconds since 1970, got %q", *epoch)
	}
	if o.password != "" && o.key == "" {
		return o, errors.New("-password-file without -key")
	}
	o.time = time.Unix(seconds, 0).UTC()
	return o, nil
}

// checkMaintainer wants the form that Debian's packages have, on one line.
func checkMaintainer(text string) error {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Name == "" || text != a.Name+" <"+a.Address+">" || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("-maintainer: want NAME <ADDRESS>, got %q\nrelease: hint: make release MAINTAINER='Jane Doe <jane@example.org>'", text)
	}
	return nil
}
