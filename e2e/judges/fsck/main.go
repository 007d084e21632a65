// Command fsck judges a whole log with Tessera's fsck package: every tile and bundle is fetched and recomputed, and
// the root compared with the checkpoint that the log's Ed25519 key signed.
//
//	fsck -log https://relay.example.org/log/ -vkey 'relay.example.org/log+1234abcd+AQ...'
//	fsck -log ./exported -vkey @log.vkey
//
// Exit 0 means the log is whole. Tessera's own command exits 0 on failure, so its package is called here; and its
// workers can wait for ever once several of them have failed, so no progress for -stall is a failure too.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"

	"paramant.app/e2e/judges/internal/args"
)

func main() {
	log := flag.String("log", "", "base URL of the log, or a directory laid out as C2SP tlog-tiles")
	vkey := flag.String("vkey", "", "the log's Ed25519 verifier key, or @file")
	origin := flag.String("origin", "", "the log's origin; the key's name when empty")
	workers := flag.Uint("workers", 8, "parallel fetches")
	stall := flag.Duration("stall", 30*time.Second, "fail after this long without a fetch")
	flag.Parse()
	if *log == "" || *vkey == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := check(*log, args.Vkey(*vkey), *origin, *workers, *stall); err != nil {
		args.Fail("fsck", err)
	}
}

func check(log, vkey, origin string, workers uint, stall time.Duration) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("verifier key: %w", err)
	}
	if origin == "" {
		origin = verifier.Name()
	}
	source, err := open(log)
	if err != nil {
		return err
	}
	counted := &counting{Fetcher: source}
	checker := fsck.New(origin, verifier, counted, leaves, fsck.Opts{N: workers})
	done := make(chan error, 1)
	go func() { done <- checker.Check(context.Background()) }()
	for before := int64(-1); ; {
		select {
		case err := <-done:
			if err == nil {
				fmt.Printf("fsck: ok: %s, %d resources\n", origin, counted.fetched.Load())
			}
			return err
		case <-time.After(stall):
			now := counted.fetched.Load()
			if now == before {
				return fmt.Errorf("no progress for %s after %d resources", stall, now)
			}
			before = now
		}
	}
}

func open(log string) (fsck.Fetcher, error) {
	if !strings.Contains(log, "://") {
		if _, err := os.Stat(log); err != nil {
			return nil, err
		}
		return &client.FileFetcher{Root: log}, nil
	}
	base, err := url.Parse(log)
	if err != nil {
		return nil, err
	}
	return client.NewHTTPFetcher(base, nil)
}

// leaves hashes the entries of a bundle as RFC 6962 does.
func leaves(bundle []byte) ([][]byte, error) {
	entries := &api.EntryBundle{}
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	hashes := make([][]byte, 0, len(entries.Entries))
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

type counting struct {
	fsck.Fetcher
	fetched atomic.Int64
}

func (c *counting) ReadTile(ctx context.Context, l, i uint64, p uint8) ([]byte, error) {
	c.fetched.Add(1)
	return c.Fetcher.ReadTile(ctx, l, i, p)
}

func (c *counting) ReadEntryBundle(ctx context.Context, i uint64, p uint8) ([]byte, error) {
	c.fetched.Add(1)
	return c.Fetcher.ReadEntryBundle(ctx, i, p)
}
