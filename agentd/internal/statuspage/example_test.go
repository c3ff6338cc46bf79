package statuspage_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/statuspage"
)

func ExampleNew() {
	row := overview.Row{Guest: 8200, Name: "web", Controller: overview.Healthy}
	page := statuspage.New(statuspage.Options{
		Host: "pve1", Version: "v1", Now: time.Now,
		Rows:     func(context.Context) ([]overview.Row, map[string]error, error) { return []overview.Row{row}, nil, nil },
		Row:      func(context.Context, int) (overview.Row, error) { return row, nil },
		Progress: func(int) (guests.Progress, error) { return guests.Progress{}, guests.ErrNotFound },
	})
	answer := httptest.NewRecorder()
	page.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://localhost"+statuspage.Path, nil))
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `<a href="/status/guests/8200">8200</a>`))
	// Output: 200 true
}
