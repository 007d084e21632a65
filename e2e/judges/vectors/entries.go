package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const maxEntry = 16384

// entry is a log entry that was made or read.
type entry struct {
	kind string
	leaf hash
	hour string
	body object
	text []byte
}

func transferLeaf(blob hash, sector, ts string) hash {
	sectorHash := h3([]byte(sector))
	return h3([]byte{2}, blob[:], sectorHash[:], []byte(ts))
}

func identityLeaf(identity, value hash, ts string) hash {
	return h3([]byte{0}, identity[:], value[:], []byte(ts))
}

func bodyLeaf(kind string, body object, t string) (hash, error) {
	text, err := canonical(body)
	if err != nil {
		return hash{}, err
	}
	kindHash, bodyHash := h3([]byte(kind)), h3(text)
	return h3([]byte{3}, kindHash[:], bodyHash[:], []byte(t)), nil
}

// hourOf is the hour of an exact time.
func hourOf(ts string) string { return ts[:13] + ":00:00.000Z" }

func newTransfer(blob hash, sector, ts string) entry {
	return mustEntry("transfer", nil, transferLeaf(blob, sector, ts), hourOf(ts))
}

func newEntry(kind string, body object, hour string) entry {
	return mustEntry(kind, body, must(bodyLeaf(kind, body, hour)), hour)
}

func mustEntry(kind string, body object, leaf hash, hour string) entry {
	fields := object{"k": kind, "l": hexHash(leaf), "t": hour}
	if body != nil {
		fields["b"] = body
	}
	return must(readEntry(must(canonical(fields))))
}

// readEntry checks an entry as section 3.1 says, in its order.
func readEntry(text []byte) (entry, error) {
	if len(text) == 0 || len(text) > maxEntry {
		return entry{}, fmt.Errorf("%d bytes", len(text))
	}
	value, err := strict(text)
	if err != nil {
		return entry{}, err
	}
	if again, err := canonical(value); err != nil || !bytes.Equal(again, text) {
		return entry{}, errors.New("not canonical")
	}
	fields, isObject := value.(object)
	if !isObject {
		return entry{}, errors.New("not an object")
	}
	b, hasBody := fields["b"]
	k, isK := fields["k"].(string)
	l, isL := fields["l"].(string)
	t, isT := fields["t"].(string)
	expected := 3
	if hasBody {
		expected++
	}
	if !isK || !isL || !isT || len(fields) != expected {
		return entry{}, errors.New("other fields than b, k, l, t")
	}
	kind := kindNamed(k)
	if kind == nil && k != "transfer" {
		return entry{}, fmt.Errorf("unknown kind %s", k)
	}
	if !isHour(t) {
		return entry{}, errors.New("t is not an hour")
	}
	if !isHex(l) {
		return entry{}, errors.New("l is not 64 hex digits")
	}
	leaf := unhex(l)
	if kind == nil {
		if hasBody {
			return entry{}, errors.New("a transfer has no body")
		}
		return entry{k, leaf, t, nil, text}, nil
	}
	body, isObject := b.(object)
	if !isObject {
		return entry{}, errors.New("the body is missing or not an object")
	}
	if err := kind.checkBody(body); err != nil {
		return entry{}, err
	}
	if again, err := bodyLeaf(k, body, t); err != nil || again != leaf {
		return entry{}, errors.New("l is not the leaf of kind, body and hour")
	}
	return entry{k, leaf, t, body, text}, nil
}

type entryVector struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Body       any    `json:"body,omitempty"`
	T          string `json:"t"`
	Leaf       string `json:"leaf"`
	Entry      string `json:"entry"`
	SHA256Leaf string `json:"sha256_leaf"`
}

type refusedVector struct {
	Name   string `json:"name"`
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

func entryVectorOf(name string, e entry) entryVector {
	var body any
	if e.body != nil {
		body = plain(e.body)
	}
	return entryVector{name, e.kind, body, e.hour, hexHash(e.leaf), string(e.text), hexHash(h256([]byte{0}, e.text))}
}

// plain turns a value into one that encoding/json writes as a number.
func plain(value any) any {
	switch value := value.(type) {
	case integer:
		if value.negative {
			return -int64(value.magnitude)
		}
		return value.magnitude
	case []any:
		items := []any{}
		for _, item := range value {
			items = append(items, plain(item))
		}
		return items
	case object:
		fields := object{}
		for key, item := range value {
			fields[key] = plain(item)
		}
		return fields
	default:
		return value
	}
}

const (
	exampleHour = "2026-01-02T03:00:00.000Z"
	exampleTs   = "2026-01-02T03:04:05.678340282366920938463463374607431768211455Z"
	publishedTs = "2026-01-02T03:04:05.678Z"
)

// example is a value of a field's type.
func example(f field) any {
	typ, _ := strings.CutSuffix(f.typ, "?")
	typ, list, _ := strings.Cut(typ, ":")
	switch typ {
	case "digest":
		return hexHash(h256([]byte(f.name)))
	case "hour":
		return "2026-01-03T03:00:00.000Z"
	case "string":
		return "0.2.0"
	case "word":
		return words[list][0]
	case "words":
		return []any{words[list][0], words[list][3]}
	case "u32":
		return number(1)
	case "int":
		return number(3)
	case "document":
		return object{"type": "paramant/" + f.name + "/v1", "signature": "AA=="}
	default:
		return true
	}
}

func entryFiles() ([]file, error) {
	good := []entryVector{
		entryVectorOf("transfer", newTransfer(fill(0xaa), "relay", exampleTs)),
		entryVectorOf("transfer of an older relay, without random digits", newTransfer(fill(0xaa), "relay", publishedTs)),
	}
	for _, kind := range kinds {
		base := func() object {
			body := object{}
			for _, field := range kind.fields {
				body[field.name] = example(field)
			}
			switch kind.name {
			case "log_key_rotated":
				body = object{"added": newLogKeys().vkey(), "retired": nil}
			case "log_adopted":
				body["origin"] = "old.example.org/log"
			}
			return body
		}
		add := func(name string, change func(object)) {
			body := base()
			change(body)
			good = append(good, entryVectorOf(name, newEntry(kind.name, body, exampleHour)))
		}
		add(kind.name, func(object) {})
		for _, field := range kind.fields {
			typ, nullable := strings.CutSuffix(field.typ, "?")
			if nullable && kind.name != "log_key_rotated" {
				add(kind.name+", "+field.name+" null", func(body object) { body[field.name] = nil })
			}
			typ, list, _ := strings.Cut(typ, ":")
			switch typ {
			case "word":
				for _, word := range words[list][1:] {
					add(kind.name+", "+field.name+" "+word, func(body object) { body[field.name] = word })
				}
			case "words":
				add(kind.name+", nobody", func(body object) { body[field.name] = []any{} })
				for _, word := range words[list] {
					add(kind.name+", "+field.name+" "+word, func(body object) { body[field.name] = []any{word} })
				}
			case "bool":
				add(kind.name+", "+field.name+" false", func(body object) { body[field.name] = false })
			case "u32":
				add(kind.name+", largest "+field.name, func(body object) { body[field.name] = number(1<<32 - 1) })
			case "int":
				add(kind.name+", largest "+field.name, func(body object) { body[field.name] = number(maxInteger) })
			}
		}
	}
	retired := object{"added": nil, "retired": oldLogKey().vkey()}
	good = append(good, entryVectorOf("log_key_rotated, retired", newEntry("log_key_rotated", retired, exampleHour)))

	refused, err := refusedEntries()
	if err != nil {
		return nil, err
	}
	return []file{
		{"entries.json", vectors{"Section 3. entry: the bytes, as text; leaf: l, in the SHA3-256 tree; sha256_leaf: in the SHA-256 tree.", good}},
		{"entries-refused.json", vectors{"Section 3.1. text: not an entry; reason: for people.", refused}},
	}, nil
}

func refusedEntries() ([]refusedVector, error) {
	closed := string(newEntry("log_closed", object{"cause": "deleted"}, exampleHour).text)
	checkin := string(newEntry("license_checkin", object{"request": hexHash(fill(1)), "reply": nil, "result": "unreachable"}, exampleHour).text)
	transfer := string(newTransfer(fill(0xaa), "relay", exampleTs).text)
	leaf := transfer[len(`{"k":"transfer","l":"`):][:64]
	// with puts another body under the leaf that belongs to it, so that only the body can be what is refused.
	with := func(kind string, body object, hour string) string {
		return string(must(canonical(object{"b": body, "k": kind, "l": hexHash(must(bodyLeaf(kind, body, hour))), "t": hour})))
	}
	without := func(body object, name string) object { delete(body, name); return body }
	digest := hexHash(fill(1))
	cases := []refusedVector{
		{Name: "nothing", Text: ""},
		{Name: "not JSON", Text: "entry"},
		{Name: "not an object", Text: "[]"},
		{Name: "a space", Text: strings.Replace(closed, `,"k"`, `, "k"`, 1)},
		{Name: "a newline behind it", Text: closed + "\n"},
		{Name: "keys in another order", Text: `{"l":"` + leaf + `","k":"transfer","t":"` + exampleHour + `"}`},
		{Name: "an escape that is not needed", Text: strings.Replace(transfer, "transfer", `tr\u0061nsfer`, 1)},
		{Name: "a key twice", Text: strings.Replace(transfer, `{"k":"transfer"`, `{"k":"transfer","k":"transfer"`, 1)},
		{Name: "one more key", Text: strings.TrimSuffix(transfer, "}") + `,"z":1}`},
		{Name: "no kind", Text: `{"l":"` + leaf + `","t":"` + exampleHour + `"}`},
		{Name: "no leaf", Text: `{"k":"transfer","t":"` + exampleHour + `"}`},
		{Name: "no hour", Text: `{"k":"transfer","l":"` + leaf + `"}`},
		{Name: "an unknown kind", Text: with("log_opened", object{"cause": "deleted"}, exampleHour)},
		{Name: "a minute", Text: with("log_closed", object{"cause": "deleted"}, "2026-01-02T03:01:00.000Z")},
		{Name: "a millisecond", Text: strings.Replace(transfer, ":00.000Z", ":00.001Z", 1)},
		{Name: "an hour without milliseconds", Text: strings.Replace(transfer, ":00.000Z", ":00Z", 1)},
		{Name: "a day that does not exist", Text: strings.Replace(transfer, "2026-01-02", "2026-02-30", 1)},
		{Name: "hour 24", Text: strings.Replace(transfer, "T03", "T24", 1)},
		{Name: "an offset instead of Z", Text: strings.Replace(transfer, ".000Z", ".000+00:00", 1)},
		{Name: "a leaf in upper case", Text: strings.Replace(transfer, leaf, strings.ToUpper(leaf), 1)},
		{Name: "a leaf of 63 digits", Text: strings.Replace(transfer, leaf, leaf[1:], 1)},
		{Name: "a leaf of 65 digits", Text: strings.Replace(transfer, leaf, leaf+"0", 1)},
		{Name: "a transfer with a body", Text: with("transfer", object{}, exampleHour)},
		{Name: "a transfer with a null body", Text: `{"b":null,` + transfer[1:]},
		{Name: "a body that is missing", Text: `{"k":"log_closed","l":"` + leaf + `","t":"` + exampleHour + `"}`},
		{Name: "a body that is null", Text: `{"b":null,"k":"log_closed","l":"` + leaf + `","t":"` + exampleHour + `"}`},
		{Name: "another word", Text: with("log_closed", object{"cause": "eaten"}, exampleHour)},
		{Name: "a word in capitals", Text: with("log_closed", object{"cause": "Deleted"}, exampleHour)},
		{Name: "one more field in the body", Text: with("log_closed", object{"cause": "deleted", "more": number(1)}, exampleHour)},
		{Name: "a field that may be null is missing", Text: with("license_checkin", object{"request": digest, "result": "unreachable"}, exampleHour)},
		{Name: "both fields of a rotation are missing", Text: with("log_key_rotated", object{}, exampleHour)},
		{Name: "a rotation that neither adds nor retires a key", Text: with("log_key_rotated", object{"added": nil, "retired": nil}, exampleHour)},
		{Name: "a rotation that adds a key and retires one", Text: with("log_key_rotated", object{"added": newLogKeys().vkey(), "retired": oldLogKey().vkey()}, exampleHour)},
		{Name: "a digest in upper case", Text: with("key_registered", object{"key": strings.Repeat("AB", 32)}, exampleHour)},
		{Name: "a digest that is null", Text: with("key_registered", object{"key": nil}, exampleHour)},
		{Name: "a number as text", Text: with("transfer_claimed", object{"id": digest, "generation": "1"}, exampleHour)},
		{Name: "a negative number", Text: with("transfer_claimed", object{"id": digest, "generation": number(-1)}, exampleHour)},
		{Name: "a number beyond 32 bits", Text: with("transfer_claimed", object{"id": digest, "generation": number(1 << 32)}, exampleHour)},
		{Name: "a number beyond 2^53-1", Text: strings.Replace(with("sth_anchor", object{"chain": digest, "count": number(1)}, exampleHour), `"count":1`, `"count":9007199254740992`, 1)},
		{Name: "until is no hour", Text: with("support_key_issued", object{"key": digest, "role": "owner", "until": "tomorrow"}, exampleHour)},
		{Name: "another body under the leaf", Text: strings.Replace(closed, "deleted", "adopted", 1)},
		{Name: "another kind under the leaf", Text: strings.Replace(string(newEntry("support_key_revoked", object{"key": digest}, exampleHour).text), "revoked", "expired", 1)},
		{Name: "another hour under the leaf", Text: strings.Replace(closed, "T03", "T04", 1)},
		{Name: "another leaf", Text: checkin[:len(checkin)-len(exampleHour)-9-64] + digest + checkin[len(checkin)-len(exampleHour)-9:]},
		{Name: "16,385 bytes", Text: with("relay_started", object{"identity": digest, "version": strings.Repeat("x", maxEntry+1-lengthWithoutVersion())}, exampleHour)},
		{Name: "a missing field", Text: with("relay_started", without(object{"identity": digest, "version": "1"}, "identity"), exampleHour)},
	}
	for i := range cases {
		_, err := readEntry([]byte(cases[i].Text))
		if err == nil {
			return nil, fmt.Errorf("%s: was accepted", cases[i].Name)
		}
		cases[i].Reason = err.Error()
	}
	longest := object{"identity": digest, "version": strings.Repeat("x", maxEntry-lengthWithoutVersion())}
	if text := with("relay_started", longest, exampleHour); len(text) != maxEntry {
		return nil, fmt.Errorf("the longest entry has %d bytes", len(text))
	}
	return cases, nil
}

func lengthWithoutVersion() int {
	return len(newEntry("relay_started", object{"identity": hexHash(fill(1)), "version": ""}, exampleHour).text)
}
