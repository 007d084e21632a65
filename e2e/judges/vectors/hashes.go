package main

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"regexp"
)

type hash = [32]byte

var isHex = regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString

func h256(parts ...[]byte) hash {
	digest := sha256.New()
	for _, part := range parts {
		digest.Write(part)
	}
	return hash(digest.Sum(nil))
}

func h3(parts ...[]byte) hash {
	digest := sha3.New256()
	for _, part := range parts {
		digest.Write(part)
	}
	return hash(digest.Sum(nil))
}

func u16(n int) []byte    { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func hexOf(bytes []byte) string { return hex.EncodeToString(bytes) }
func hexHash(h hash) string     { return hexOf(h[:]) }
func hexAll(hashes []hash) []string {
	texts := []string{}
	for _, h := range hashes {
		texts = append(texts, hexHash(h))
	}
	return texts
}

func b64(bytes []byte) string { return base64.StdEncoding.EncodeToString(bytes) }

// unB64 takes the one spelling of some bytes only.
func unB64(text string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(text) }

func fill(b byte) hash {
	var h hash
	for i := range h {
		h[i] = b
	}
	return h
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}
