package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
)

// tree is one of the two trees of section 6.
type tree struct {
	name  string
	node  func(left, right hash) hash
	empty hash
}

var (
	sha256Tree = tree{"sha256", func(l, r hash) hash { return h256([]byte{1}, l[:], r[:]) }, h256()}
	sha3Tree   = tree{"sha3", func(l, r hash) hash { return h3([]byte{1}, l[:], r[:]) }, hash{}}
	trees      = []tree{sha256Tree, sha3Tree}
)

// root is MTH of RFC 6962 over leaf hashes.
func (t tree) root(leaves []hash) hash {
	switch len(leaves) {
	case 0:
		return t.empty
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	return t.node(t.root(leaves[:k]), t.root(leaves[k:]))
}

// split is the largest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// inclusion is PATH of RFC 6962, from the leaf upwards.
func (t tree) inclusion(i int, leaves []hash) []hash {
	if len(leaves) <= 1 {
		return nil
	}
	k := split(len(leaves))
	if i < k {
		return append(t.inclusion(i, leaves[:k]), t.root(leaves[k:]))
	}
	return append(t.inclusion(i-k, leaves[k:]), t.root(leaves[:k]))
}

// consistency is PROOF of RFC 6962.
func (t tree) consistency(m int, leaves []hash) []hash {
	if m == 0 || m == len(leaves) {
		return nil
	}
	return t.subproof(m, leaves, true)
}

func (t tree) subproof(m int, leaves []hash, known bool) []hash {
	if m == len(leaves) {
		if known {
			return nil
		}
		return []hash{t.root(leaves)}
	}
	k := split(len(leaves))
	if m <= k {
		return append(t.subproof(m, leaves[:k], known), t.root(leaves[k:]))
	}
	return append(t.subproof(m-k, leaves[k:], false), t.root(leaves[:k]))
}

// checkInclusion is section 11.1.
func (t tree) checkInclusion(h hash, i, n uint64, path []hash, root hash) error {
	if i >= n {
		return errors.New("the index is not below the size")
	}
	for at, last := i, n-1; last > 0; at, last = at/2, last/2 {
		if at%2 == 0 && at >= last {
			continue
		}
		if len(path) == 0 {
			return errors.New("the path is too short")
		}
		if at%2 == 1 {
			h = t.node(path[0], h)
		} else {
			h = t.node(h, path[0])
		}
		path = path[1:]
	}
	if len(path) != 0 {
		return errors.New("the path is too long")
	}
	if h != root {
		return errors.New("the path leads to another root")
	}
	return nil
}

// checkConsistency is section 11.2.
func (t tree) checkConsistency(m uint64, a hash, n uint64, b hash, path []hash) error {
	if m > n {
		return errors.New("the old size is above the new one")
	}
	if m == 0 || m == n {
		if len(path) != 0 {
			return errors.New("the path is too long")
		}
		if (m == 0 && a != t.empty) || (m == n && a != b) {
			return errors.New("another old root")
		}
		return nil
	}
	first, second := a, a
	if m&(m-1) != 0 {
		if len(path) == 0 {
			return errors.New("the path is too short")
		}
		first, second, path = path[0], path[0], path[1:]
	}
	z := bits.TrailingZeros64(m)
	for at, last := (m-1)>>z, (n-1)>>z; last > 0; at, last = at/2, last/2 {
		if at%2 == 0 && at >= last {
			continue
		}
		if len(path) == 0 {
			return errors.New("the path is too short")
		}
		if at%2 == 1 {
			first, second = t.node(path[0], first), t.node(path[0], second)
		} else {
			second = t.node(second, path[0])
		}
		path = path[1:]
	}
	if len(path) != 0 {
		return errors.New("the path is too long")
	}
	if first != a {
		return errors.New("another old root")
	}
	if second != b {
		return errors.New("another new root")
	}
	return nil
}

// log is a run of entries with the leaves of both trees.
type log struct {
	entries []entry
	leaves  map[string][]hash
}

func newLog(entries []entry) *log {
	l := &log{entries, map[string][]hash{}}
	for _, e := range entries {
		l.leaves["sha256"] = append(l.leaves["sha256"], h256([]byte{0}, e.text))
		l.leaves["sha3"] = append(l.leaves["sha3"], e.leaf)
	}
	return l
}

func (l *log) root(t tree, size int) hash { return t.root(l.leaves[t.name][:size]) }

const longSize = 70000

// newLongLog is a log of transfers whose inputs follow from their number.
func newLongLog() *log {
	entries := make([]entry, longSize)
	for i := range entries {
		ts := fmt.Sprintf("2026-01-02T03:04:05.678%039dZ", i)
		blob := h256(u64(uint64(i)))
		leaf := transferLeaf(blob, "relay", ts)
		text := fmt.Sprintf(`{"k":"transfer","l":"%s","t":"%s"}`, hexHash(leaf), hourOf(ts))
		entries[i] = entry{"transfer", leaf, hourOf(ts), nil, []byte(text)}
	}
	return newLog(entries)
}

type rootsVector struct {
	Size       int    `json:"size"`
	SHA256Root string `json:"sha256_root"`
	Base64     string `json:"sha256_root_base64"`
	SHA3Root   string `json:"sha3_root"`
}

func treeFile(long *log) ([]file, error) {
	var all []rootsVector
	for _, size := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 255, 256, 257, 511, 512, 513, 1000, 4096, 65535, 65536, 65537, longSize} {
		sha256, sha3 := long.root(sha256Tree, size), long.root(sha3Tree, size)
		all = append(all, rootsVector{size, hexHash(sha256), base64.StdEncoding.EncodeToString(sha256[:]), hexHash(sha3)})
	}
	// The published protocol's own tree, section 11: leaves SHA3-256(00 ‖ byte i).
	var leaves []hash
	for i := range 8 {
		leaves = append(leaves, h3([]byte{0, byte(i)}))
	}
	if hexHash(sha3Tree.root(leaves)) != "8c79e48275b6b7d1fc4a3c7baa2014c36ee437ce3fd1d8fef23a6a1e2bbc79bf" {
		return nil, errors.New("not the published root of 8 leaves")
	}
	about := "Section 6. The first `size` entries of the long log: entry i is a transfer with blob_hash = SHA-256(u64(i)), sector relay, ts = 2026-01-02T03:04:05.678 followed by i as 39 decimal digits and Z."
	return []file{{"trees.json", vectors{about, all}}}, nil
}
