// Command mldsa judges the ML-DSA-44 line of a checkpoint with github.com/transparency-dev/formats.
//
//	mldsa -vkey 'name+id+key' checkpoint     (a file, a URL, or - for standard input)
//
// Exit 0 means that the timestamped line of that key verifies; other lines are ignored.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"paramant.app/e2e/judges/internal/args"
)

func main() {
	vkey := flag.String("vkey", "", "verifier key of type 06, or @file")
	flag.Parse()
	if *vkey == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	verifier, err := fnote.NewMLDSAVerifier(args.Vkey(*vkey))
	if err != nil {
		args.Fail("mldsa", err)
	}
	signed, err := args.Bytes(flag.Arg(0))
	if err != nil {
		args.Fail("mldsa", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		args.Fail("mldsa", err)
	}
	at, err := fnote.CoSigV1Timestamp(opened.Sigs[0])
	if err != nil {
		args.Fail("mldsa", err)
	}
	if at.Unix() <= 0 {
		args.Fail("mldsa", errors.New("the line carries no time"))
	}
	fmt.Printf("mldsa: ok: %s at %s\n", verifier.Name(), at.UTC().Format(time.RFC3339))
}
