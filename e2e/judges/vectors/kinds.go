package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A field's type: digest, u32, int, bool, string, hour, document, word:LIST or words:LIST; a final ? allows null.
type field struct{ name, typ string }

type kind struct {
	name   string
	fields []field
}

// kinds is the table of section 3.2, without transfer.
var kinds = []kind{
	{"transfer_claimed", []field{{"id", "digest"}, {"generation", "u32"}}},
	{"transfer_burned", []field{{"id", "digest"}, {"cause", "word:burn"}}},
	{"key_registered", []field{{"key", "digest"}}},
	{"relay_started", []field{{"identity", "digest"}, {"version", "string"}}},
	{"license_checkin", []field{{"request", "digest"}, {"reply", "digest?"}, {"result", "word:check-in"}}},
	{"license_changed", []field{{"source", "word:licence origin"}, {"document", "digest?"}}},
	{"telemetry_changed", []field{{"enabled", "bool"}, {"schema", "u32"}, {"preview", "digest?"}}},
	{"outbound_call", []field{{"purpose", "word:purpose"}, {"destination", "digest"}, {"count", "int"}, {"chain", "digest"}}},
	{"support_key_issued", []field{{"key", "digest"}, {"role", "word:role"}, {"until", "hour"}}},
	{"support_key_revoked", []field{{"key", "digest"}}},
	{"support_key_expired", []field{{"key", "digest"}}},
	{"support_key_used", []field{{"key", "digest"}, {"count", "int"}, {"chain", "digest"}}},
	{"update_offered", []field{{"version", "string"}, {"role", "word:role"}}},
	{"update_approved", []field{{"version", "string"}, {"image", "digest"}}},
	{"update_started", []field{{"version", "string"}, {"image", "digest"}}},
	{"update_finished", []field{{"version", "string"}, {"image", "digest"}}},
	{"update_rolled_back", []field{{"version", "string"}, {"image", "digest"}}},
	{"drain_changed", []field{{"draining", "bool"}, {"by", "words:drain source"}}},
	{"remote_action_refused", []field{{"action", "digest"}, {"role", "word:role"}, {"reason", "word:refusal"}}},
	{"vendor_request", []field{{"request", "document"}}},
	{"vendor_silence", []field{{"statement", "document"}}},
	{"vendor_request_decided", []field{{"request", "digest"}, {"decision", "word:decision"}}},
	{"capability_changed", []field{{"request", "digest"}, {"before", "digest"}, {"after", "digest"}}},
	{"admin_changed", []field{{"what", "word:admin change"}}},
	{"clock_corrected", []field{{"by", "word:clock authority"}}},
	{"log_key_rotated", []field{{"added", "string?"}, {"retired", "string?"}}},
	{"sth_anchor", []field{{"count", "int"}, {"chain", "digest"}}},
	{"log_closed", []field{{"cause", "word:close"}}},
	{"log_adopted", []field{{"origin", "string"}, {"size", "int"}, {"root", "digest"}}},
	{"did_revoked", []field{{"key", "digest"}}},
}

// words are the closed lists of section 3.3.
var words = map[string][]string{
	"burn":            {"read", "expired", "cancelled", "lost"},
	"check-in":        {"sent", "accepted", "refused", "rejected", "unreachable"},
	"licence origin":  {"community", "offline", "online", "grace"},
	"purpose":         {"license", "witness", "webhook"},
	"role":            {"owner", "support"},
	"drain source":    {"Spec", "Policy", "Vendor", "Update", "Shutdown"},
	"refusal":         {"unknown_action", "not_recorded", "not_allowed", "wrong_relay", "stale", "gap", "fork", "expired"},
	"decision":        {"approved", "denied", "lapsed"},
	"admin change":    {"set_up", "token", "second_factor", "key_created", "key_revoked", "key_changed"},
	"clock authority": {"reply", "admin", "machine"},
	"close":           {"deleted", "adopted"},
}

func kindNamed(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

func isHour(text string) bool {
	at, err := time.Parse("2006-01-02T15:04:05.000Z", text)
	return err == nil && at.Format("2006-01-02T15")+":00:00.000Z" == text
}

// checkBody holds a body against its kind.
func (k *kind) checkBody(body object) error {
	for name := range body {
		if !slices.ContainsFunc(k.fields, func(f field) bool { return f.name == name }) {
			return fmt.Errorf("%s has no field %s", k.name, name)
		}
	}
	for _, field := range k.fields {
		value, present := body[field.name]
		if !present {
			return fmt.Errorf("%s lacks %s", k.name, field.name)
		}
		if !field.takes(value) {
			return fmt.Errorf("%s of %s is not %s", field.name, k.name, field.typ)
		}
	}
	if k.name == "log_key_rotated" && (body["added"] == nil) == (body["retired"] == nil) {
		return fmt.Errorf("%s has not exactly one of added and retired", k.name)
	}
	return nil
}

func (f field) takes(value any) bool {
	typ, nullable := strings.CutSuffix(f.typ, "?")
	if value == nil {
		return nullable
	}
	typ, list, _ := strings.Cut(typ, ":")
	text, isText := value.(string)
	n, isInteger := value.(integer)
	switch typ {
	case "digest":
		return isText && isHex(text)
	case "hour":
		return isText && isHour(text)
	case "string":
		return isText
	case "word":
		return isText && slices.Contains(words[list], text)
	case "words":
		items, isArray := value.([]any)
		return isArray && !slices.ContainsFunc(items, func(item any) bool {
			word, isText := item.(string)
			return !isText || !slices.Contains(words[list], word)
		})
	case "u32":
		return isInteger && !n.negative && n.magnitude < 1<<32
	case "int":
		return isInteger && !n.negative
	case "document":
		document, isObject := value.(object)
		_, typed := document["type"].(string)
		_, signed := document["signature"].(string)
		return isObject && typed && signed
	case "bool":
		_, isBool := value.(bool)
		return isBool
	default:
		panic("no such type: " + f.typ)
	}
}
