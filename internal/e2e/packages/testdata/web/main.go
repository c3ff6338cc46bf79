// Command web stands in for the web server that docs/quickstart.md runs: it answers on port 80.
package main

import (
	"fmt"
	"log"
	"net/http"
	"time"
)

func main() {
	server := &http.Server{Addr: ":80", ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "It works.")
	})}
	log.Fatal(server.ListenAndServe())
}
