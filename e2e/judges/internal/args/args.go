// Package args reads what the judges are given, and fails in one way.
package args

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// Vkey is the key itself, or with a leading @ the first line of a file.
func Vkey(value string) string {
	name, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return value
	}
	content, err := os.ReadFile(name)
	if err != nil {
		Fail("vkey", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return strings.TrimSpace(line)
}

// Bytes reads a file, "-" for standard input, or a URL.
func Bytes(name string) ([]byte, error) {
	switch {
	case name == "-":
		return io.ReadAll(os.Stdin)
	case strings.HasPrefix(name, "http://"), strings.HasPrefix(name, "https://"):
		response, err := http.Get(name)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", name, response.Status)
		}
		return io.ReadAll(response.Body)
	default:
		return os.ReadFile(name)
	}
}

// Fail says why and exits 1.
func Fail(judge string, err error) {
	fmt.Fprintf(os.Stderr, "%s: FAILED: %v\n", judge, err)
	os.Exit(1)
}
