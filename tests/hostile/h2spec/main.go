// h2spec against HOST PORT PATH over TLS, as a program of its own, so that its version is pinned. See ../protocol.rs.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "h2spec HOST PORT PATH")
		os.Exit(2)
	}
	port, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	settings := &config.Config{
		Host: os.Args[1], Port: port, Path: os.Args[3],
		Timeout: 3 * time.Second, MaxHeaderLen: 4000, TLS: true, Insecure: true, Sections: []string{},
	}
	if _, err := h2spec.Run(settings); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
