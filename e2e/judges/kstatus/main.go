// Command kstatus judges recorded statuses as Flux, Argo CD and kpt do: with the library they share.
//
//	kstatus records.jsonl     (a file, or - for standard input)
//
// Each line is {"expected": "Current", "object": {…}}, with the whole object as the API server served it. Exit 0 means that
// the library finds every object in the state that is expected of it; each that differs is told.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"paramant.app/e2e/judges/internal/args"
)

type record struct {
	Expected string          `json:"expected"`
	Object   json.RawMessage `json:"object"`
}

func main() {
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	content, err := args.Bytes(flag.Arg(0))
	if err != nil {
		args.Fail("kstatus", err)
	}
	seen, wrong, line := map[string]int{}, 0, 0
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		line++
		var one record
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			args.Fail("kstatus", fmt.Errorf("line %d: %w", line, err))
		}
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(one.Object); err != nil {
			args.Fail("kstatus", fmt.Errorf("line %d: %w", line, err))
		}
		found, err := status.Compute(&object)
		if err != nil {
			args.Fail("kstatus", fmt.Errorf("line %d: %w", line, err))
		}
		seen[string(found.Status)]++
		if string(found.Status) != one.Expected {
			wrong++
			fmt.Fprintf(os.Stderr, "line %d: %s (%s), expected %s\n", line, found.Status, found.Message, one.Expected)
		}
	}
	if err := lines.Err(); err != nil {
		args.Fail("kstatus", err)
	}
	if line == 0 || wrong > 0 {
		args.Fail("kstatus", fmt.Errorf("%d of %d differ", wrong, line))
	}
	var told []string
	for name, count := range seen {
		told = append(told, fmt.Sprintf("%d %s", count, name))
	}
	sort.Strings(told)
	fmt.Printf("kstatus: ok: %d statuses: %s\n", line, strings.Join(told, ", "))
}
