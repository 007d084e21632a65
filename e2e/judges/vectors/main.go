// Command vectors makes the test vectors of docs/spec/log.md, docs/spec/transfer.md, docs/spec/licensing.md and
// docs/spec/remote-actions.md.
//
//	vectors -dir docs/spec/vectors            write them
//	vectors -dir docs/spec/vectors -check     exit 1 when what lies there is not what would be written
//
// It is written from the specification alone and shares no code with the relay. All keys come from fixed seeds and all
// signatures are deterministic, so the files are the same on every run. Whatever it writes as good it has verified by
// itself, and whatever it writes as refused its own verifier has refused.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"paramant.app/e2e/judges/internal/args"
)

// file is one JSON file of vectors.
type file struct {
	name    string
	content any
}

// vectors is what most files hold: a sentence, and items that each have a name.
type vectors struct {
	About   string `json:"about"`
	Vectors any    `json:"vectors"`
}

func main() {
	directory := flag.String("dir", "", "where the files are")
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	if *directory == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	files, err := all()
	if err == nil {
		err = put(*directory, files, *check)
	}
	if err != nil {
		args.Fail("vectors", err)
	}
	fmt.Printf("vectors: ok: %d files\n", len(files))
}

// all makes every file; the order is that of the specification.
func all() ([]file, error) {
	story, err := newStory()
	if err != nil {
		return nil, err
	}
	long := newLongLog()
	makers := []func() ([]file, error){
		canonicalFile,
		entryFiles,
		leafFile,
		commitmentFile,
		func() ([]file, error) { return treeFile(long) },
		func() ([]file, error) { return tileFile(long) },
		func() ([]file, error) { return bundleFile(story, long) },
		keyFile,
		func() ([]file, error) { return checkpointFiles(story) },
		func() ([]file, error) { return headFiles(story) },
		func() ([]file, error) { return proofFiles(long) },
		func() ([]file, error) { return receiptFiles(story) },
		func() ([]file, error) { return tlogProofFiles(story) },
		func() ([]file, error) { return witnessFiles(story) },
		func() ([]file, error) { return archiveFile(story) },
		func() ([]file, error) { return storyFile(story) },
		envelopeFile,
		listFile,
		largeFile,
		dropFile,
		licenceFile,
		checkInFile,
		actionFile,
	}
	var files []file
	for _, make := range makers {
		made, err := make()
		if err != nil {
			return nil, err
		}
		files = append(files, made...)
	}
	return files, nil
}

// put writes the files, or compares them. Files of vectors that would not be made are stale, and an error too.
func put(directory string, files []file, check bool) error {
	var wrong []error
	var names []string
	for _, file := range files {
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(file.content); err != nil {
			return fmt.Errorf("%s: %w", file.name, err)
		}
		names = append(names, file.name)
		path := filepath.Join(directory, file.name)
		if !check {
			if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
				return err
			}
			continue
		}
		found, err := os.ReadFile(path)
		if err != nil {
			wrong = append(wrong, err)
		} else if !bytes.Equal(found, text.Bytes()) {
			wrong = append(wrong, fmt.Errorf("%s is not what the specification's program makes", path))
		}
	}
	present, err := filepath.Glob(filepath.Join(directory, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range present {
		if !slices.Contains(names, filepath.Base(path)) {
			wrong = append(wrong, fmt.Errorf("%s is made by nobody", path))
		}
	}
	return errors.Join(wrong...)
}

// must is for values that this program makes from constants: a failure is a mistake in it.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
