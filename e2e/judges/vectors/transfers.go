package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"

	"filippo.io/mldsa"
)

// Section numbers are those of docs/spec/transfer.md. The encapsulation itself is FIPS 203 and has vectors of its own: here a
// ciphertext and a shared secret are given.

const (
	ctKemBytes   = 1088
	chunkBytes   = 4 << 20
	contentBytes = chunkBytes - 1138
)

// filled is n bytes that count up from first.
func filled(first byte, n int) []byte {
	text := make([]byte, n)
	for i := range text {
		text[i] = first + byte(i)
	}
	return text
}

// contentOf is the content of files in the vectors: byte i is i mod 251.
func contentOf(size int) []byte {
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i % 251)
	}
	return content
}

func hkdf32(prk []byte, info string) []byte { return must(hkdf.Expand(sha256.New, prk, info, 32)) }

// extracted is section 2.2.
func extracted(shared, ct []byte, preShared *string) []byte {
	ikm := shared
	if preShared != nil {
		digest := h3([]byte(*preShared))
		ikm = join(shared, digest[:])
	}
	return must(hkdf.Extract(sha256.New, ikm, ct[:32]))
}

func suffix(preShared *string) string {
	if preShared != nil {
		return "-pss"
	}
	return ""
}

func gcm(key []byte) cipher.AEAD { return must(cipher.NewGCM(must(aes.NewCipher(key)))) }

func header(sig int) []byte { return join([]byte("PQHB\x01"), u16(2), u16(sig), []byte{0}) }

func prefixed(content []byte) []byte { return join(u32(uint32(len(content))), content) }

type envelopeVector struct {
	Name      string  `json:"name"`
	Ct        string  `json:"ct_kem"`
	Shared    string  `json:"shared_secret"`
	PreShared *string `json:"pre_shared"`
	Nonce     string  `json:"nonce"`
	Plaintext string  `json:"plaintext"`
	Key       string  `json:"key"`
	Aad       string  `json:"aad"`
	Message   string  `json:"signed_message_sha256"`
	Form      string  `json:"form"`
	Sender    string  `json:"sender_pub"`
	Blob      string  `json:"blob"`
}

func envelopeFile() ([]file, error) {
	psk := "correct horse"
	signer := must(mldsa.NewPrivateKey(mldsa.MLDSA65(), bytes.Repeat([]byte{7}, 32)))
	var all []envelopeVector
	for _, kind := range []struct {
		name, form string
		psk        *string
	}{
		{"unsigned", "", nil},
		{"unsigned with a pre-shared secret", "", &psk},
		{"signed as clients from 3.1 on sign", "direct", nil},
		{"signed as paramant-sdk 3.0.0 signs", "hashed", nil},
		{"signed with a pre-shared secret", "direct", &psk},
	} {
		ct, shared, nonce, plaintext := filled(1, ctKemBytes), filled(0x80, 32), filled(0x40, 12), []byte("a small file\n")
		key := hkdf32(extracted(shared, ct, kind.psk), "paramant-v1-aes-key"+suffix(kind.psk))
		sig, sender := 0, []byte{}
		if kind.form != "" {
			sig, sender = 2, signer.PublicKey().Bytes()
		}
		aad := join(header(sig), u32(0))
		sealed := gcm(key).Seal(nil, nonce, plaintext, aad)
		var message []byte
		switch kind.form {
		case "direct":
			message = join(ct, sender, nonce, sealed, aad)
		case "hashed":
			digest := h256(aad, ct, sender, nonce, sealed)
			message = digest[:]
		}
		blob := join(header(sig), prefixed(ct), prefixed(sender))
		if message != nil {
			blob = join(blob, prefixed(must(signer.SignDeterministic(message, nil))))
		}
		blob = join(blob, nonce, prefixed(sealed))
		all = append(all, envelopeVector{kind.name, hexOf(ct), hexOf(shared), kind.psk, hexOf(nonce), hexOf(plaintext), hexOf(key),
			hexOf(aad), hexHash(h256(message)), kind.form, hexOf(sender), hexOf(blob)})
	}
	about := "Section 2: PQHB v1 before padding. The encapsulation is given by its ciphertext and its shared secret."
	return []file{{"envelopes.json", vectors{about, all}}}, nil
}

type listVector struct {
	Name      string   `json:"name"`
	Size      uint64   `json:"size"`
	ChunkSize uint64   `json:"chunk_size"`
	Chunks    []string `json:"chunks"`
	Hash      string   `json:"hash"`
}

func chunkList(size, chunkSize uint64, chunks []hash) hash {
	text := join([]byte("paramant chunk list v1\n"), u64(size), u64(chunkSize))
	for _, chunk := range chunks {
		text = join(text, chunk[:])
	}
	return h256(text)
}

func listFile() ([]file, error) {
	var all []listVector
	for _, kind := range []struct {
		name            string
		size, chunkSize int
	}{{"one chunk", 1, 65536}, {"one full chunk", 65536, 65536}, {"two chunks", 65537, 65536}, {"five chunks", 5*65536 - 7, 65536}} {
		content := contentOf(kind.size)
		var chunks []hash
		for start := 0; start < kind.size; start += kind.chunkSize {
			chunks = append(chunks, h256(content[start:min(start+kind.chunkSize, kind.size)]))
		}
		name := chunkList(uint64(kind.size), uint64(kind.chunkSize), chunks)
		all = append(all, listVector{kind.name, uint64(kind.size), uint64(kind.chunkSize), hexAll(chunks), hexHash(name)})
	}
	about := "Section 4: the name of a blob in chunks. Byte i of the blob is i mod 251; chunks are the SHA-256 of each."
	return []file{{"chunk-lists.json", vectors{about, all}}}, nil
}

type largeChunk struct {
	Number uint32 `json:"number"`
	Key    string `json:"key"`
	Nonce  string `json:"nonce"`
	Sha256 string `json:"sha256"`
	Tag    string `json:"tag"`
}

type largeVector struct {
	Name      string       `json:"name"`
	Ct        string       `json:"ct_kem"`
	Shared    string       `json:"shared_secret"`
	PreShared *string      `json:"pre_shared"`
	Size      int          `json:"size"`
	Secret    string       `json:"secret"`
	NonceKey  string       `json:"nonce_key"`
	Chunks    []largeChunk `json:"chunks"`
	Manifest  string       `json:"manifest"`
	Wire      uint64       `json:"wire_bytes"`
}

// sealChunk is section 5.2.
func sealChunk(secret, ct []byte, number uint32, content []byte) (largeChunk, []byte) {
	padded := make([]byte, contentBytes)
	copy(padded, content)
	key := hkdf32(secret, "paramant-large-v1-chunk"+string(u32(number)))
	mac := hmac.New(sha256.New, hkdf32(secret, "paramant-large-v1-nonce"))
	mac.Write(u32(number))
	mac.Write(padded)
	nonce := mac.Sum(nil)[:12]
	sealed := gcm(key).Seal(nil, nonce, padded, join(header(0), u32(number)))
	chunk := join(header(0), prefixed(ct), prefixed(nil), nonce, prefixed(sealed))
	sum := h256(chunk)
	return largeChunk{number, hexOf(key), hexOf(nonce), hexHash(sum), hexOf(sealed[len(sealed)-16:])}, chunk
}

func largeFile() ([]file, error) {
	psk := "correct horse"
	var all []largeVector
	for _, kind := range []struct {
		name string
		size int
		psk  *string
	}{{"an empty file", 0, nil}, {"one byte", 1, nil}, {"one full chunk", contentBytes, nil}, {"two chunks", contentBytes + 1, nil},
		{"three chunks with a pre-shared secret", 2*contentBytes + 1000, &psk}} {
		ct, shared, content := filled(3, ctKemBytes), filled(0x90, 32), contentOf(kind.size)
		secret := hkdf32(extracted(shared, ct, kind.psk), "paramant-large-v1"+suffix(kind.psk))
		vector := largeVector{Name: kind.name, Ct: hexOf(ct), Shared: hexOf(shared), PreShared: kind.psk, Size: kind.size,
			Secret: hexOf(secret), NonceKey: hexOf(hkdf32(secret, "paramant-large-v1-nonce"))}
		list := []byte("paramant large file v1\n")
		for number := uint32(0); number == 0 || int(number)*contentBytes < kind.size; number++ {
			start := int(number) * contentBytes
			described, chunk := sealChunk(secret, ct, number, content[start:min(start+contentBytes, kind.size)])
			if len(chunk) != chunkBytes {
				return nil, errors.New("a chunk of another size")
			}
			sum := h256(chunk)
			list = join(list, sum[:])
			vector.Chunks = append(vector.Chunks, described)
		}
		last := len(vector.Chunks) - 1
		manifest, err := canonical(object{"kind": "paramant-large-file", "v": number(1), "size": number(int64(kind.size)),
			"chunk_size": number(contentBytes), "last": number(int64(last)), "list": hexHash(h256(list))})
		if err != nil {
			return nil, err
		}
		vector.Manifest = string(manifest)
		vector.Wire = uint64(len(vector.Chunks))*chunkBytes + 65536
		all = append(all, vector)
	}
	about := "Section 5: large files. Byte i of the content is i mod 251. The manifest is the plaintext of an envelope."
	return []file{{"large-files.json", vectors{about, all}}}, nil
}

type dropVector struct {
	Name    string `json:"name"`
	Entropy string `json:"entropy"`
	Key     string `json:"key"`
	ID      string `json:"lookup_id"`
	Hash    string `json:"hash"`
	Nonce   string `json:"nonce"`
	Content string `json:"content"`
	Blob    string `json:"blob"`
}

func dropFile() ([]file, error) {
	var all []dropVector
	for _, name := range []string{"as published", "all ones"} {
		entropy := filled(0, 16)
		if name == "all ones" {
			entropy = bytes.Repeat([]byte{0xff}, 16)
		}
		prk := must(hkdf.Extract(sha256.New, entropy, []byte("paramant-drop-v1")))
		key, id := hkdf32(prk, "aes-key"), hkdf32(prk, "lookup-id")
		nonce, content := filled(0x20, 12), []byte("dropped")
		sealed := gcm(key).Seal(nil, nonce, content, nil)
		all = append(all, dropVector{name, hexOf(entropy), hexOf(key), hexOf(id), hexHash(h256(id)), hexOf(nonce), hexOf(content),
			hexOf(join(nonce, prefixed(sealed)))})
	}
	// What the published protocol says of itself, section 11.
	if !strings.HasPrefix(all[0].Key, "fffeb3df6fd671a9") || !strings.HasPrefix(all[0].Hash, "02ad99cac1b827dd") {
		return nil, errors.New("not the published drop")
	}
	about := "Section 6: drops, before padding. Words of BIP39 encode the entropy."
	return []file{{"drops.json", vectors{about, all}}}, nil
}
