package metrics_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/metrics"
)

func ExampleNew() {
	m := metrics.New(metrics.Options{
		Version: "v1", Now: time.Now, Certificate: func() *x509.Certificate { return &x509.Certificate{} },
		Guests: func() (map[string]int, int, error) { return map[string]int{"healthy": 2}, 0, nil },
	})
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `felhom_agentd_guests{state="healthy"} 2`))
	// Output: 200 true
}
