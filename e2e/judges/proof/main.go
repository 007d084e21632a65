// Command proof judges an offline proof (C2SP tlog-proof): the checkpoint's Ed25519 line with
// golang.org/x/mod/sumdb/note, the audit path with golang.org/x/mod/sumdb/tlog.
//
//	proof -vkey 'name+id+key' [-entry file] receipt.tlog-proof
//
// The entry is the proof's extra data unless -entry gives it. Exit 0 means that the entry is in that log.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"paramant.app/e2e/judges/internal/args"
)

func main() {
	vkey := flag.String("vkey", "", "verifier key, or @file")
	entry := flag.String("entry", "", "file with the entry's bytes; the proof's extra data when empty")
	flag.Parse()
	if *vkey == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := check(args.Vkey(*vkey), *entry, flag.Arg(0)); err != nil {
		args.Fail("proof", err)
	}
}

func check(vkey, entryFile, proofFile string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	text, err := args.Bytes(proofFile)
	if err != nil {
		return err
	}
	var given proof.TLogProof
	if err := given.Unmarshal(text); err != nil {
		return err
	}
	entry := given.ExtraData
	if entryFile != "" {
		if entry, err = args.Bytes(entryFile); err != nil {
			return err
		}
	}
	if len(entry) == 0 {
		return errors.New("no entry: neither -entry nor extra data")
	}
	checkpoint, _, _, err := log.ParseCheckpoint(given.Checkpoint, verifier.Name(), verifier)
	if err != nil {
		return err
	}
	path := make(tlog.RecordProof, 0, len(given.Hashes))
	for _, hash := range given.Hashes {
		path = append(path, tlog.Hash(hash))
	}
	root := tlog.Hash(checkpoint.Hash)
	if err := tlog.CheckRecord(path, int64(checkpoint.Size), root, int64(given.Index), tlog.RecordHash(entry)); err != nil {
		return err
	}
	fmt.Printf("proof: ok: entry %d of %d in %s\n", given.Index, checkpoint.Size, verifier.Name())
	return nil
}
