package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// The engine's answers about a container, an image and itself, in the fields that are used. The
// client library's types have some hundred, and the tables that encoding/json makes of
// them cost more than the requests (docs/benchmarks.md, "The bootstrapper").
type (
	containerAnswer struct {
		ID           string `json:"Id"`
		Name         string
		Image        string // an ID
		Created      string
		RestartCount int
		Config       struct {
			Image  string // a reference
			Labels map[string]string
		}
		State struct {
			Status    string
			ExitCode  int
			Error     string
			StartedAt string
			Health    struct {
				Status string
				Log    []healthResult
			}
		}
	}
	healthResult struct {
		ExitCode int
		Output   string
	}
	imageAnswer struct {
		ID           string `json:"Id"`
		Architecture string
		OS           string `json:"Os"`
		Size         int64
		RepoTags     []string
		RepoDigests  []string
		Descriptor   *struct{} // set by containerd's store only, API 1.48
		Config       struct {
			ExposedPorts map[string]struct{}
			Healthcheck  struct {
				Test                                 []string
				Interval, StartPeriod, StartInterval time.Duration
				Retries                              int
			}
		}
	}
	engineAnswer struct {
		ServerVersion       string
		DockerRootDir       string
		DriverStatus        [][2]string
		DefaultAddressPools []struct{ Base string }
		HTTPProxy           string `json:"HttpProxy"`
		HTTPSProxy          string `json:"HttpsProxy"`
		RegistryConfig      *struct {
			IndexConfigs map[string]*struct {
				Secure  bool
				Mirrors []string
			}
			InsecureRegistryCIDRs []string
		}
	}
	networkAnswer struct {
		Name, Driver string
		IPAM         struct {
			Config []struct{ Subnet string }
		}
	}
)

func (c *Client) inspectContainer(ctx context.Context, name string) (a containerAnswer, err error) {
	return a, c.ask(ctx, &a, "containers", name, "json")
}

func (c *Client) inspectImage(ctx context.Context, ref string) (a imageAnswer, err error) {
	return a, c.ask(ctx, &a, "images", ref, "json")
}

func (c *Client) info(ctx context.Context) (a engineAnswer, err error) {
	return a, c.ask(ctx, &a, "info")
}

func (c *Client) networks(ctx context.Context) (a []networkAnswer, err error) {
	return a, c.ask(ctx, &a, "networks")
}

// Limits of an engine's answer. Labels and the output of health tests are its largest
// parts, and come from images.
const (
	maxAnswer = 16 << 20
	maxError  = 1 << 20
)

// ask gets the object at the path into a, over the library's connection and in the
// negotiated version. Its errors are as those of the library: what classify knows.
func (c *Client) ask(ctx context.Context, a any, path ...string) (err error) {
	if slices.Contains(path, "") {
		return fmt.Errorf("ask the engine for %q: want no empty name", path)
	}
	host, err := client.ParseHostURL(c.host)
	if err != nil {
		return err
	}
	api := c.api()
	at := url.URL{Path: "/v" + api.ClientVersion() + "/" + strings.Join(path, "/")}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	// As the library writes them, so that both use the same idle connections.
	req.URL.Scheme, req.URL.Host, req.Host = "http", host.Host, client.DummyHost
	resp, err := api.HTTPClient().Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which says nothing
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return &unreachedError{c.host, err}
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return answeredError(resp)
	}
	limited := &io.LimitedReader{R: resp.Body, N: maxAnswer + 1}
	err = json.NewDecoder(limited).Decode(a)
	if limited.N <= 0 {
		return fmt.Errorf("the engine's answer exceeds the limit of %d bytes", maxAnswer)
	}
	return err
}

// answeredError returns the error that the engine answered with, in its words.
func answeredError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		return err
	}
	words := string(body)
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil {
		words = said.Message
	}
	words = cmp.Or(strings.TrimSpace(words), "the engine answered "+resp.Status)
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s (%w)", words, errdefs.ErrNotFound)
	}
	return errors.New(words)
}

// unreachedError means that the engine gave no answer.
type unreachedError struct {
	host  string
	cause error
}

func (e *unreachedError) Error() string {
	return fmt.Sprintf("cannot connect to the engine at %s: %v", e.host, e.cause)
}

func (e *unreachedError) Unwrap() error { return e.cause }
