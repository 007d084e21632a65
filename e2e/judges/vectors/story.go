package main

import (
	"fmt"
	"slices"
	"strings"
)

const (
	origin  = "relay.example.org/log"
	relayID = "https://relay.example.org"
	// signedAt is when checkpoints of the story are signed, in seconds.
	signedAt = 1767323045
)

func oldLogKey() key      { return newKey(origin, typeEd25519, fill(0x01)) }
func newLogKeys() key     { return newKey(origin, typeEd25519, fill(0x04)) }
func postQuantumKey() key { return newKey(origin, typeMLDSA44, fill(0x02)) }
func identityKey() key    { return newKey(origin, typeMLDSA65, fill(0x03)) }
func witnessOne() key     { return newKey("witness.example/one", typeCosigner, fill(0x11)) }
func witnessTwo() key     { return newKey("witness.example/two", typeMLDSA44, fill(0x12)) }

func allKeys() []key {
	return []key{oldLogKey(), postQuantumKey(), identityKey(), newLogKeys(), witnessOne(), witnessTwo()}
}

// story is a small log in which everything happens once: started, a key, two transfers, a claim, a burn, a rotation of
// the Ed25519 key, an anchor, the end.
type story struct {
	log         *log
	heads       []head
	transfer    transferOpening
	claimSalt   hash
	checkpoints []storyCheckpoint
}

// transferOpening is what opens the story's first transfer.
type transferOpening struct {
	index  int
	blob   hash
	sector string
	ts     string
}

type storyCheckpoint struct {
	name string
	size int
	note string
	keys []key
}

const (
	added   = 6 // index of the entry that adds the new key
	retired = 8 // index of the entry that retires the old one
)

func newStory() (*story, error) {
	identity := identityKey()
	fingerprint := h3(identity.public)
	s := &story{transfer: transferOpening{2, h256([]byte("payload A")), "relay", exampleTs}, claimSalt: fill(0x51)}
	leaf := transferLeaf(s.transfer.blob, s.transfer.sector, s.transfer.ts)
	device := h3([]byte("kem public key"), []byte("signing public key"))
	entries := []entry{
		newEntry("relay_started", object{"identity": hexHash(fingerprint), "version": "0.1.0"}, exampleHour),
		newEntry("key_registered", object{"key": hexHash(commit("device-key", fill(0x50), device[:]))}, exampleHour),
		newTransfer(s.transfer.blob, s.transfer.sector, s.transfer.ts),
		newEntry("transfer_claimed", object{"generation": number(1), "id": hexHash(commit("transfer-claimed", s.claimSalt, leaf[:]))}, exampleHour),
		newTransfer(h256([]byte("payload B")), "relay", "2026-01-02T03:04:06.000"+strings.Repeat("7", 39)+"Z"),
		newEntry("transfer_burned", object{"cause": "read", "id": hexHash(commit("transfer-burned", fill(0x52), leaf[:]))}, exampleHour),
		newEntry("log_key_rotated", object{"added": newLogKeys().vkey(), "retired": nil}, exampleHour),
	}
	sign := func(size int, millis int64) {
		s.heads = append(s.heads, signHead(identity, newLog(entries).root(sha3Tree, size), uint64(size), millis))
	}
	sign(3, 1767323045678)
	sign(5, 1767323046000)
	sign(7, 1767323046100)
	chain := headChain(s.heads)
	entries = append(entries,
		newEntry("sth_anchor", object{"chain": hexHash(chain), "count": number(3)}, "2026-01-02T04:00:00.000Z"),
		newEntry("log_key_rotated", object{"added": nil, "retired": oldLogKey().vkey()}, "2026-01-02T04:00:00.000Z"),
	)
	sign(9, 1767326400000)
	entries = append(entries,
		newEntry("sth_anchor", object{"chain": hexHash(headChain(s.heads)), "count": number(4)}, "2026-01-02T05:00:00.000Z"),
		newEntry("log_closed", object{"cause": "deleted"}, "2026-01-02T05:00:00.000Z"),
	)
	sign(11, 1767330000000)
	s.log = newLog(entries)

	old := []key{oldLogKey(), postQuantumKey(), identity}
	overlap := append(slices.Clone(old), newLogKeys())
	after := []key{newLogKeys(), postQuantumKey(), identity}
	for _, point := range []struct {
		name string
		size int
		keys []key
	}{
		{"the first entry", 1, old}, {"before the rotation", 5, old}, {"the last without the added key", added, old},
		{"the first with the added key", added + 1, overlap}, {"the last with the retired key", retired, overlap},
		{"the first without the retired key", retired + 1, after}, {"the end", len(entries), after},
	} {
		note := signNote(s.checkpoint(point.size).text(), signedAt+uint64(point.size), point.keys...)
		s.checkpoints = append(s.checkpoints, storyCheckpoint{point.name, point.size, note, point.keys})
	}
	return s, s.check()
}

func (s *story) checkpoint(size int) checkpoint {
	return checkpoint{origin, uint64(size), s.log.root(sha256Tree, size)}
}

// at is the story's checkpoint of a size.
func (s *story) at(size int) storyCheckpoint {
	i := slices.IndexFunc(s.checkpoints, func(c storyCheckpoint) bool { return c.size == size })
	return s.checkpoints[i]
}

// check reads the story as a verifier does (section 17.2).
func (s *story) check() error {
	for _, c := range s.checkpoints {
		read, err := openCheckpoint([]byte(c.note), verifiersOf(c.keys))
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if read != s.checkpoint(c.size) {
			return fmt.Errorf("%s: another checkpoint", c.name)
		}
	}
	counts := uint64(0)
	for i, e := range s.log.entries {
		if e.kind != "sth_anchor" {
			continue
		}
		count := e.body["count"].(integer).magnitude
		if count < counts || e.body["chain"] != hexHash(headChain(s.heads[:count])) {
			return fmt.Errorf("the anchor at %d does not hold", i)
		}
		counts = count
	}
	for _, head := range s.heads {
		if err := head.check(identityKey().verifier); err != nil {
			return err
		}
		if head.root != s.log.root(sha3Tree, int(head.size)) {
			return fmt.Errorf("the tree head at %d is for another root", head.size)
		}
	}
	return nil
}

func verifiersOf(keys []key) []verifier {
	var all []verifier
	for _, k := range keys {
		all = append(all, k.verifier)
	}
	return all
}

func vkeysOf(keys []key) []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.vkey())
	}
	return all
}

type storyContent struct {
	About       string              `json:"about"`
	Origin      string              `json:"origin"`
	Identity    string              `json:"identity"`
	Fingerprint string              `json:"fingerprint"`
	Entries     []string            `json:"entries"`
	Checkpoints []checkpointSummary `json:"checkpoints"`
	TreeHeads   []object            `json:"tree_heads"`
}

type checkpointSummary struct {
	Size int      `json:"size"`
	Keys []string `json:"keys"`
	Note string   `json:"note"`
}

func storyFile(s *story) ([]file, error) {
	fingerprint := h3(identityKey().public)
	content := storyContent{
		About:       "A whole log of eleven entries to run a verifier over (section 17.2): identity is the ML-DSA-65 public key in hex, keys are those in force at that size. Expected: everything holds, both rotations are followed, the log is closed.",
		Origin:      origin,
		Identity:    hexOf(identityKey().public),
		Fingerprint: hexHash(fingerprint),
	}
	for _, e := range s.log.entries {
		content.Entries = append(content.Entries, string(e.text))
	}
	for _, c := range s.checkpoints {
		content.Checkpoints = append(content.Checkpoints, checkpointSummary{c.size, vkeysOf(c.keys), c.note})
	}
	for _, head := range s.heads {
		content.TreeHeads = append(content.TreeHeads, plain(head.signed()).(object))
	}
	return []file{{"story.json", content}}, nil
}
