package main

import (
	"encoding/hex"
	"errors"
	"strings"
)

func unhex(text string) hash { return hash(must(hex.DecodeString(text))) }

type leafVector struct {
	Name     string            `json:"name"`
	Form     string            `json:"form"`
	Inputs   map[string]string `json:"inputs"`
	Preimage string            `json:"preimage"`
	Leaf     string            `json:"leaf"`
}

func leafFile() ([]file, error) {
	transfer := func(name string, blob hash, sector, ts string) leafVector {
		sectorHash := h3([]byte(sector))
		preimage := join([]byte{2}, blob[:], sectorHash[:], []byte(ts))
		inputs := map[string]string{"blob_hash": hexHash(blob), "sector": sector, "ts": ts, "hour": hourOf(ts)}
		return leafVector{name, "transfer", inputs, hexOf(preimage), hexHash(h3(preimage))}
	}
	identity := func(name string, who, value hash, ts string, inputs map[string]string) leafVector {
		preimage := join([]byte{0}, who[:], value[:], []byte(ts))
		inputs["identity"], inputs["value"], inputs["ts"] = hexHash(who), hexHash(value), ts
		return leafVector{name, "identity", inputs, hexOf(preimage), hexHash(h3(preimage))}
	}
	body := func(kind string, b object, t string) leafVector {
		text := must(canonical(b))
		kindHash, bodyHash := h3([]byte(kind)), h3(text)
		preimage := join([]byte{3}, kindHash[:], bodyHash[:], []byte(t))
		inputs := map[string]string{"kind": kind, "body": string(text), "t": t}
		return leafVector{"body of " + kind, "body", inputs, hexOf(preimage), hexHash(h3(preimage))}
	}
	ecdh := fill(0x22)
	ecdh[0] = 4
	url := "https://relay.example.org"
	all := []leafVector{
		transfer("transfer as published, three digits", fill(0xaa), "relay", publishedTs),
		transfer("transfer with 39 random digits, the largest", fill(0xaa), "relay", exampleTs),
		transfer("transfer with 39 random digits, the smallest", fill(0xaa), "relay", strings.TrimSuffix(publishedTs, "Z")+strings.Repeat("0", 39)+"Z"),
		transfer("transfer of another sector", fill(0xaa), "légal", exampleTs),
		identity("device key of an older relay", h3([]byte("phone-001"), []byte("pgp_0123")), ecdh, publishedTs,
			map[string]string{"device_id": "phone-001", "api_key_prefix": "pgp_0123"}),
		identity("registered relay of an older relay", h3([]byte(url+"|"+"relay")), fill(0xbb), publishedTs,
			map[string]string{"url": url, "sector": "relay"}),
		body("log_closed", object{"cause": "deleted"}, exampleHour),
		body("sth_anchor", object{"chain": hexHash(fill(3)), "count": number(7)}, exampleHour),
	}
	// What the published protocol says of itself, section 11.
	published := map[int]string{
		0: "b28cd694f82b67808285d1d596b561816b7e2f5fe05e96ef6f6801fe50881eb7",
		4: "82774b99cb5202917d178f5f8f0680d88c448ae672491245933ccd00a03bfde7",
		5: "54742de6f2b3f4f0123facae103307fae3bb7d34378a278f069ca55fbbb94f8b",
	}
	for i, leaf := range published {
		if all[i].Leaf != leaf {
			return nil, errors.New(all[i].Name + ": not the published leaf")
		}
	}
	about := "Section 4. preimage and leaf: hex; leaf = SHA3-256(preimage)."
	return []file{{"leaves.json", vectors{about, all}}}, nil
}

type commitmentVector struct {
	Name       string `json:"name"`
	Label      string `json:"label"`
	Salt       string `json:"salt"`
	Value      string `json:"value"`
	Commitment string `json:"commitment"`
}

// labels are those of section 5.1, without the final zero byte.
var labels = []string{
	"transfer-claimed", "transfer-burned", "device-key", "license-request", "license-reply", "license",
	"telemetry-preview", "destination", "support-key", "remote-action", "image", "did",
}

func commit(label string, salt hash, value []byte) hash {
	return h256([]byte("paramant/"+label+"/v1\x00"), salt[:], value)
}

// chainOf is section 5.3.
func chainOf(requests ...string) hash {
	var chain hash
	for _, request := range requests {
		digest := h256([]byte(request))
		chain = h256(chain[:], digest[:])
	}
	return chain
}

type chainVector struct {
	Requests []string `json:"requests"`
	Chain    string   `json:"chain"`
}

type commitments struct {
	About   string             `json:"about"`
	Vectors []commitmentVector `json:"vectors"`
	Chains  []chainVector      `json:"chains"`
}

func commitmentFile() ([]file, error) {
	leaf := transferLeaf(fill(0xaa), "relay", exampleTs)
	deviceKey := h3([]byte("kem public key"), []byte("signing public key"))
	values := map[string][]byte{"transfer-claimed": leaf[:], "transfer-burned": leaf[:], "device-key": deviceKey[:]}
	var all []commitmentVector
	for i, label := range labels {
		value, is := values[label]
		if !is {
			value = []byte("value of " + label)
		}
		salt := fill(byte(0x40 + i))
		label := "paramant/" + label + "/v1"
		commitment := commit(labels[i], salt, value)
		all = append(all, commitmentVector{labels[i], hexOf([]byte(label + "\x00")), hexHash(salt), hexOf(value), hexHash(commitment)})
	}
	var chains []chainVector
	for _, requests := range [][]string{{}, {"GET /a"}, {"GET /a", "GET /b", ""}} {
		chains = append(chains, chainVector{requests, hexHash(chainOf(requests...))})
	}
	about := "Section 5. label (with its zero byte), salt, value, commitment: hex. chains: requests as text, chain of section 5.3."
	return []file{{"commitments.json", commitments{about, all, chains}}}, nil
}
