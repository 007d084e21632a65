package main

import (
	"fmt"
	"strings"
)

// number3 writes N of a tile path.
func number3(n int) string {
	text := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		text = fmt.Sprintf("x%03d/%s", n%1000, text)
	}
	return text
}

func tilePath(level string, n, width int) string {
	path := "tile/" + level + "/" + number3(n)
	if width < 256 {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

type tileVector struct {
	Path   string `json:"path"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type spelling struct {
	Path  string `json:"path"`
	Level string `json:"level,omitempty"`
	Index string `json:"index,omitempty"`
	Width int    `json:"width,omitempty"`
	Why   string `json:"refused,omitempty"`
}

type tileFileContent struct {
	About     string       `json:"about"`
	Size      int          `json:"size"`
	Tiles     []tileVector `json:"tiles"`
	Spellings []spelling   `json:"spellings"`
}

// tilesOf are all tiles of the SHA-256 tree of the first size entries, with their bytes.
func (l *log) tilesOf(size int, each func(path string, bytes []byte)) {
	hashes := l.leaves["sha256"][:size]
	for level := 0; len(hashes) > 0; level++ {
		var above []hash
		for n := 0; n*256 < len(hashes); n++ {
			nodes := hashes[n*256 : min(n*256+256, len(hashes))]
			var bytes []byte
			for _, node := range nodes {
				bytes = append(bytes, node[:]...)
			}
			each(tilePath(fmt.Sprint(level), n, len(nodes)), bytes)
			if len(nodes) == 256 {
				above = append(above, sha256Tree.root(nodes))
			}
		}
		hashes = above
	}
}

func tileFile(long *log) ([]file, error) {
	var tiles []tileVector
	long.tilesOf(longSize, func(path string, bytes []byte) {
		digest := h256(bytes)
		// Every seventh of the full ones will do, and all that end a level.
		if strings.HasPrefix(path, "tile/0/") && !strings.Contains(path, ".p/") && len(tiles)%7 != 0 {
			tiles = append(tiles, tileVector{})
			return
		}
		tiles = append(tiles, tileVector{path, len(bytes), hexHash(digest)})
	})
	kept := tiles[:0]
	for _, tile := range tiles {
		if tile.Path != "" {
			kept = append(kept, tile)
		}
	}
	good := []spelling{
		{Path: "tile/0/000", Level: "0", Index: "0", Width: 256},
		{Path: "tile/0/000.p/1", Level: "0", Index: "0", Width: 1},
		{Path: "tile/0/000.p/255", Level: "0", Index: "0", Width: 255},
		{Path: "tile/1/x001/000", Level: "1", Index: "1000", Width: 256},
		{Path: "tile/0/x001/x234/067", Level: "0", Index: "1234067", Width: 256},
		{Path: "tile/0/x001/x234/067.p/8", Level: "0", Index: "1234067", Width: 8},
		{Path: "tile/7/000.p/2", Level: "7", Index: "0", Width: 2},
		{Path: "tile/entries/000", Level: "entries", Index: "0", Width: 256},
		{Path: "tile/entries/x001/x234/067.p/8", Level: "entries", Index: "1234067", Width: 8},
		{Path: "tile/0/x072/x057/x594/x037/x927/935", Level: "0", Index: "72057594037927935", Width: 256},
	}
	bad := []spelling{
		{Path: "tile/0/0", Why: "not three digits"}, {Path: "tile/0/0000", Why: "not three digits"},
		{Path: "tile/0/x000/001", Why: "a leading zero element"}, {Path: "tile/0/001/000", Why: "an element without x"},
		{Path: "tile/0/x001", Why: "ends in x"}, {Path: "tile/0/X001/000", Why: "a capital X"},
		{Path: "tile/00/000", Why: "a leading zero level"}, {Path: "tile/8/000", Why: "no such level below 2^64 entries"},
		{Path: "tile/-1/000", Why: "a sign"}, {Path: "tile/+0/000", Why: "a sign"}, {Path: "tile/entry/000", Why: "no such level"},
		{Path: "tile/0/000.p/256", Why: "a full tile has no width"}, {Path: "tile/0/000.p/0", Why: "empty"},
		{Path: "tile/0/000.p/07", Why: "a leading zero"}, {Path: "tile/0/000.p/+7", Why: "a sign"}, {Path: "tile/0/000.p/", Why: "no width"},
		{Path: "tile/0/000/", Why: "a slash"}, {Path: "tile//000", Why: "no level"}, {Path: "/tile/0/000", Why: "a slash"}, {Path: "tile/0/", Why: "no number"},
		{Path: "tile/0/%30%30%30", Why: "percent-encoding"}, {Path: "tile/0/00a", Why: "not digits"}, {Path: "tile/0/000.p/1/2", Why: "more"},
		{Path: "tile/0/x018/x446/x744/x073/x709/x551/616", Why: "beyond 64 bits"}, {Path: "", Why: "nothing"},
	}
	content := tileFileContent{
		"Section 7. tiles: some tiles of the long log (trees.json) at `size`, by path, with the SHA-256 of their bytes. spellings: paths and what they name, or why they are refused; level entries is a bundle.",
		longSize, kept, append(good, bad...),
	}
	return []file{{"tiles.json", content}}, nil
}

type bundleVector struct {
	Name    string   `json:"name"`
	Hex     string   `json:"hex,omitempty"`
	SHA256  string   `json:"sha256,omitempty"`
	Path    string   `json:"path,omitempty"`
	Entries []string `json:"entries,omitempty"`
	Refused string   `json:"refused,omitempty"`
}

func bundle(entries []entry) []byte {
	var bytes []byte
	for _, e := range entries {
		bytes = join(bytes, u16(len(e.text)), e.text)
	}
	return bytes
}

func bundleFile(s *story, long *log) ([]file, error) {
	texts := func(entries []entry) []string {
		all := []string{}
		for _, e := range entries {
			all = append(all, string(e.text))
		}
		return all
	}
	first, whole := s.log.entries[:3], bundle(s.log.entries)
	ofLong := func(n, width int) bundleVector {
		bytes := bundle(long.entries[n*256 : n*256+width])
		return bundleVector{Name: "of the long log", Path: tilePath("entries", n, width), SHA256: hexHash(h256(bytes))}
	}
	all := []bundleVector{
		{Name: "three entries of the story", Hex: hexOf(bundle(first)), Entries: texts(first)},
		{Name: "the whole story", Hex: hexOf(whole), Entries: texts(s.log.entries)},
		{Name: "entries may be empty in a bundle (the log has none)", Hex: "00000000", Entries: []string{"", ""}},
		ofLong(0, 256), ofLong(272, 256), ofLong(273, longSize-273*256), ofLong(1, 1),
		{Name: "half a length", Hex: "00", Refused: "the bytes end inside an entry"},
		{Name: "cut off", Hex: hexOf(whole[:len(whole)-1]), Refused: "the bytes end inside an entry"},
		{Name: "a byte too many", Hex: hexOf(append(whole, 0)), Refused: "the bytes end inside an entry"},
		{Name: "257 entries", Hex: strings.Repeat("0000", 257), Refused: "more than 256 entries"},
		{Name: "a length that no byte follows", Hex: "ffff", Refused: "the bytes end inside an entry"},
	}
	about := "Section 7. hex: the bytes, or their sha256 for bundles of the long log (trees.json) by path; entries: what they hold, as text."
	return []file{{"bundles.json", vectors{about, all}}}, nil
}
