// Command note judges the Ed25519 line of a checkpoint with golang.org/x/mod/sumdb/note.
//
//	note -vkey 'name+id+key' checkpoint     (a file, a URL, or - for standard input)
//
// Exit 0 means that the line of that key verifies; other lines are ignored.
package main

import (
	"flag"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"

	"paramant.app/e2e/judges/internal/args"
)

func main() {
	vkey := flag.String("vkey", "", "verifier key, or @file")
	flag.Parse()
	if *vkey == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	verifier, err := note.NewVerifier(args.Vkey(*vkey))
	if err != nil {
		args.Fail("note", err)
	}
	signed, err := args.Bytes(flag.Arg(0))
	if err != nil {
		args.Fail("note", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		args.Fail("note", err)
	}
	fmt.Printf("note: ok: %s, %d other lines\n", verifier.Name(), len(opened.UnverifiedSigs))
}
