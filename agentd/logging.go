package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
	"golang.org/x/time/rate"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// The values of --log-format.
const (
	logAuto = "auto"
	logText = "text"
	logJSON = "json"
)

// logOptions are how the daemon logs.
type logOptions struct {
	format string
	level  logrus.Level
}

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-format", Value: logAuto, Usage: "form of the log: text, json, or auto: text on a terminal, else json"},
		&cli.StringFlag{Name: "log-level", Value: logrus.InfoLevel.String(), Usage: "log this and what is worse: error, warning, info or debug"},
	}
}

func readLogFlags(c *cli.Context) (o logOptions, err error) {
	var all []error
	if o.format = c.String("log-format"); o.format != logAuto && o.format != logText && o.format != logJSON {
		all = append(all, fmt.Errorf("--log-format: want auto, text or json, got %q", o.format))
	}
	o.level, err = logrus.ParseLevel(c.String("log-level"))
	if err != nil || o.level < logrus.ErrorLevel || o.level > logrus.DebugLevel {
		all = append(all, fmt.Errorf("--log-level: want error, warning, info or debug, got %q", c.String("log-level")))
	}
	if err := errors.Join(all...); err != nil {
		return o, misuse(c, err)
	}
	return o, nil
}

func newLogger(stderr io.Writer, o logOptions) *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(stderr)
	logger.SetLevel(o.level)
	f, isFile := stderr.(*os.File)
	if o.format == logText || o.format == logAuto && isFile && term.IsTerminal(int(f.Fd())) {
		logger.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	} else {
		logger.SetFormatter(&logrus.JSONFormatter{})
	}
	return logger
}

// logged returns a text of a guest for the log: in one line and bounded.
func logged(text string) string { return termtext.Line(termtext.Name(text), maxLogged) }

// maxLogged bounds how much of a guest's text one field of the log has.
const maxLogged = 300

func logEvent(logger *logrus.Logger, e api.Event) {
	fields := logrus.Fields{}
	if e.VMID != 0 {
		fields["guest"] = e.VMID
	}
	if e.Source.IsValid() {
		fields["source"] = e.Source.String()
	}
	if e.Digest != "" {
		fields["token_sha256"] = e.Digest
	}
	if e.Report != nil {
		fields["run"], fields["sequence"] = logged(e.Report.Run), e.Report.Sequence
		fields["step"], fields["state"] = logged(string(e.Report.Step)), logged(string(e.Report.State))
	}
	entry := logger.WithFields(fields)
	if e.Err != nil {
		entry = entry.WithError(e.Err)
	}
	switch e.Kind {
	case api.TokenFirstUsed:
		entry.Info("token first used")
	case api.TokenRefused:
		entry.Warn("token refused")
	case api.EndedTokenUsed:
		entry.Warn("token used after its end")
	case api.OtherGuestDenied:
		entry.Warn("guest asked for another guest's data")
	case api.ElsewhereSeen:
		entry.Warn("a valid token came from elsewhere than its guest, and was accepted")
	case api.ElsewhereDenied:
		entry.Warn("a valid token came from elsewhere than its guest, and was refused")
	case api.ReportReceived:
		if e.Report != nil && e.Report.State == contract.StateFailed {
			entry.WithFields(logrus.Fields{
				"message": logged(e.Report.Message), "class": logged(e.Report.Class), "hint": logged(e.Report.Hint),
			}).Warn("the guest reports a failure")
			return
		}
		entry.Info("report")
	case api.StoreFailed:
		entry.Error("guest store failed")
	case api.HandlerFailed:
		entry.Error("request failed")
	}
}

// bounded passes on a few lines a second: what a port scan has to say about TLS
// must not fill the journal.
type bounded struct {
	logger  *logrus.Logger
	limiter *rate.Limiter
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.limiter.Allow() {
		b.logger.WithField("detail", logged(strings.TrimSpace(string(p)))).Info("connection failed")
	}
	return len(p), nil
}

// complaintsTo returns what net/http logs to, some lines a second at most.
func complaintsTo(logger *logrus.Logger) *log.Logger {
	return log.New(&bounded{logger: logger, limiter: rate.NewLimiter(1, 10)}, "", 0)
}
