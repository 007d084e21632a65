package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
)

// member is a file of an archive.
type member struct {
	name    string
	content []byte
	deflate bool
}

// archiveOf is section 16: everything that lies under /log/ at one of the story's checkpoints.
func (s *story) archiveOf(size int) []member {
	point := s.at(size)
	var vkeys, policy, heads bytes.Buffer
	for _, k := range point.keys {
		fmt.Fprintf(&vkeys, "%s\n", k.vkey())
		if k.algorithm.name != typeMLDSA65.name {
			fmt.Fprintf(&policy, "log %s\n", k.vkey())
		}
	}
	policy.WriteString("quorum none\n")
	for _, h := range s.heads {
		if h.size <= uint64(size) {
			heads.Write(append(must(canonical(h.signed())), '\n'))
		}
	}
	members := []member{
		{name: "README.txt", content: []byte("The log of the story (story.json).\n")},
		{name: "checkpoint", content: []byte(point.note)},
		{name: "vkeys", content: vkeys.Bytes()},
		{name: "policy", content: policy.Bytes()},
		{name: "sth.ndjson", content: heads.Bytes()},
		{name: tilePath("entries", 0, size), content: bundle(s.log.entries[:size])},
	}
	s.log.tilesOf(size, func(path string, bytes []byte) {
		members = append(members, member{name: path, content: slices.Clone(bytes)})
	})
	return members
}

// pack writes members as they are: no descriptor behind the content, no time, so the same members are the same bytes.
func pack(members []member) []byte {
	var text bytes.Buffer
	writer := zip.NewWriter(&text)
	for _, m := range members {
		stored, method := m.content, zip.Store
		if m.deflate {
			// One stored block: the same in every release of the compressor.
			length := uint16(len(m.content))
			stored = join([]byte{1}, binary.LittleEndian.AppendUint16(nil, length), binary.LittleEndian.AppendUint16(nil, ^length), m.content)
			method = zip.Deflate
			if back, err := io.ReadAll(flate.NewReader(bytes.NewReader(stored))); err != nil || !bytes.Equal(back, m.content) {
				panic("not deflate")
			}
		}
		header := zip.FileHeader{
			Name: m.name, Method: method, CRC32: crc32.ChecksumIEEE(m.content),
			CompressedSize64: uint64(len(stored)), UncompressedSize64: uint64(len(m.content)),
		}
		must(must(writer.CreateRaw(&header)).Write(stored))
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	return text.Bytes()
}

func unpack(text []byte) (map[string][]byte, error) {
	reader, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, err
	}
	members := map[string][]byte{}
	for _, file := range reader.File {
		if _, twice := members[file.Name]; twice {
			return nil, fmt.Errorf("the name %s is there twice", file.Name)
		}
		if strings.HasPrefix(file.Name, "/") || slices.Contains(strings.Split(file.Name, "/"), "..") {
			return nil, fmt.Errorf("the name %s leads out of the archive", file.Name)
		}
		if file.Method != zip.Store {
			return nil, fmt.Errorf("%s is compressed", file.Name)
		}
		content, err := file.Open()
		if err != nil {
			return nil, err
		}
		if members[file.Name], err = io.ReadAll(content); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// checkArchive is section 17.2 over an archive that begins at entry 0 and ends within the first bundle.
func checkArchive(text []byte, keys []verifier) error {
	members, err := unpack(text)
	if err != nil {
		return err
	}
	vkeys := ""
	for _, k := range keys {
		vkeys += k.vkey() + "\n"
	}
	if string(members["vkeys"]) != vkeys {
		return errors.New("vkeys are not the log's keys, one a line")
	}
	checkpoint, err := openCheckpoint(members["checkpoint"], keys)
	if err != nil {
		return err
	}
	size := int(checkpoint.size)
	rest, isThere := members[tilePath("entries", 0, size)]
	if !isThere {
		return errors.New("the bundle is not there")
	}
	var entries []entry
	for len(rest) > 0 {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return errors.New("the bundle ends inside an entry")
		}
		length := int(binary.BigEndian.Uint16(rest))
		read, err := readEntry(rest[2 : 2+length])
		if err != nil {
			return err
		}
		entries, rest = append(entries, read), rest[2+length:]
	}
	if len(entries) != size {
		return fmt.Errorf("the bundle has %d entries", len(entries))
	}
	log := newLog(entries)
	if log.root(sha256Tree, size) != checkpoint.root {
		return errors.New("the entries give another root than the checkpoint")
	}
	log.tilesOf(size, func(path string, bytes []byte) {
		if string(members[path]) != string(bytes) {
			err = fmt.Errorf("%s is not what the entries give", path)
		}
	})
	if err != nil {
		return err
	}
	identity := keys[slices.IndexFunc(keys, func(k verifier) bool { return k.algorithm.name == typeMLDSA65.name })]
	return checkHeadLines(string(members["sth.ndjson"]), log, identity)
}

func checkHeadLines(lines string, log *log, identity verifier) error {
	last := uint64(0)
	for line := range strings.Lines(lines) {
		if !strings.HasSuffix(line, "\n") {
			return errors.New("the last tree head is cut off")
		}
		value, err := strict([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			return err
		}
		fields, isObject := value.(object)
		if !isObject {
			return errors.New("a tree head is no object")
		}
		if err := checkHead(fields, identity); err != nil {
			return err
		}
		size := fields["tree_size"].(integer).magnitude
		if size < last || size > uint64(len(log.entries)) {
			return errors.New("a tree head is out of order")
		}
		if fields["sha3_root"] != hexHash(log.root(sha3Tree, int(size))) {
			return errors.New("a tree head is for another root")
		}
		last = size
	}
	return nil
}

type archiveMember struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type archiveVector struct {
	Name    string          `json:"name"`
	Size    int             `json:"size,omitempty"`
	Keys    []string        `json:"keys"`
	Zip     string          `json:"zip"`
	Members []archiveMember `json:"members,omitempty"`
	Refused string          `json:"refused,omitempty"`
}

func archiveFile(s *story) ([]file, error) {
	var all []archiveVector
	for _, size := range []int{1, 5, len(s.log.entries)} {
		members, keys := s.archiveOf(size), s.at(size).keys
		text := pack(members)
		if err := checkArchive(text, verifiersOf(keys)); err != nil {
			return nil, fmt.Errorf("the archive of %d entries: %w", size, err)
		}
		vector := archiveVector{Name: fmt.Sprintf("%d entries", size), Size: size, Keys: vkeysOf(keys), Zip: b64(text)}
		for _, m := range members {
			vector.Members = append(vector.Members, archiveMember{m.name, len(m.content), hexHash(h256(m.content))})
		}
		all = append(all, vector)
	}
	refuse := func(name string, size int, change func([]member) []member, cut int) error {
		text := pack(change(s.archiveOf(size)))
		text = text[:len(text)-cut]
		err := checkArchive(text, verifiersOf(s.at(size).keys))
		if err == nil {
			return fmt.Errorf("%s: was accepted", name)
		}
		all = append(all, archiveVector{Name: name, Keys: vkeysOf(s.at(size).keys), Zip: b64(text), Refused: err.Error()})
		return nil
	}
	with := func(more member) func([]member) []member {
		return func(members []member) []member { return append(members, more) }
	}
	without := func(name string) func([]member) []member {
		return func(members []member) []member {
			return slices.DeleteFunc(members, func(m member) bool { return m.name == name })
		}
	}
	instead := func(name string, content []byte) func([]member) []member {
		return func(members []member) []member {
			at := slices.IndexFunc(members, func(m member) bool { return m.name == name })
			members[at].content = content
			return members
		}
	}
	other := newEntry("relay_started", object{"identity": s.log.entries[0].body["identity"], "version": "0.1.1"}, exampleHour)
	root := fill(0x77)
	forged := signHead(identityKey(), root, 3, s.heads[0].millis)
	lines := func(heads ...head) []byte {
		var text []byte
		for _, h := range heads {
			text = join(text, must(canonical(h.signed())), []byte("\n"))
		}
		return text
	}
	bundle1, tile1 := tilePath("entries", 0, 1), tilePath("0", 0, 1)
	err := errors.Join(
		refuse("a name twice", 1, with(member{name: "vkeys", content: []byte("other\n")}), 0),
		refuse("a name that leads out", 1, with(member{name: "tile/../../vkeys"}), 0),
		refuse("an absolute name", 1, with(member{name: "/vkeys"}), 0),
		refuse("a compressed member", 1, with(member{name: "notes.txt", content: []byte("text"), deflate: true}), 0),
		refuse("cut off", 1, slices.Clone[[]member], 1),
		refuse("no checkpoint", 1, without("checkpoint"), 0),
		refuse("keys without the last newline", 1, instead("vkeys", []byte(strings.Join(vkeysOf(s.at(1).keys), "\n"))), 0),
		refuse("no bundle", 1, without(bundle1), 0),
		refuse("no tile", 1, without(tile1), 0),
		refuse("another entry", 1, instead(bundle1, bundle([]entry{other})), 0),
		refuse("an entry too many", 1, instead(bundle1, bundle(s.log.entries[:2])), 0),
		refuse("another tile", 1, instead(tile1, root[:]), 0),
		refuse("a signed tree head for another root", 5, instead("sth.ndjson", lines(forged, s.heads[1])), 0),
		refuse("tree heads out of order", 5, instead("sth.ndjson", lines(s.heads[1], s.heads[0])), 0),
		refuse("a tree head without its newline", 5, instead("sth.ndjson", bytes.TrimSuffix(lines(s.heads[0]), []byte("\n"))), 0),
	)
	about := "Section 16. zip: an archive of the story (story.json), base64, under the checkpoint of size entries; keys: those in force; members: what is in it. refused: the archive proves nothing, and why."
	return []file{{"archives.json", vectors{about, all}}}, err
}
