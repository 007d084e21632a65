package main

import (
	"fmt"
	"slices"
)

type step struct {
	Hash     string `json:"hash"`
	Position string `json:"position"`
}

// steps adds the sides of section 11.3 to a path.
func steps(i, n uint64, path []hash) []step {
	all := []step{}
	for at, last := i, n-1; last > 0; at, last = at/2, last/2 {
		if at%2 == 0 && at >= last {
			continue
		}
		position := "right"
		if at%2 == 1 {
			position = "left"
		}
		all = append(all, step{hexHash(path[len(all)]), position})
	}
	return all
}

type inclusionVector struct {
	Name  string   `json:"name,omitempty"`
	Tree  string   `json:"tree"`
	Index uint64   `json:"index"`
	Size  uint64   `json:"size"`
	Leaf  string   `json:"leaf"`
	Root  string   `json:"root"`
	Path  []string `json:"path"`
	Steps []step   `json:"steps,omitempty"`
	Why   string   `json:"refused,omitempty"`
}

type consistencyVector struct {
	Name    string   `json:"name,omitempty"`
	Tree    string   `json:"tree"`
	From    uint64   `json:"from"`
	To      uint64   `json:"to"`
	OldRoot string   `json:"old_root"`
	NewRoot string   `json:"new_root"`
	Path    []string `json:"path"`
	Why     string   `json:"refused,omitempty"`
}

type proofContent struct {
	About       string              `json:"about"`
	Inclusion   []inclusionVector   `json:"inclusion"`
	Consistency []consistencyVector `json:"consistency"`
}

func proofFiles(long *log) ([]file, error) {
	good := proofContent{About: "Section 11, over the long log (trees.json). path: hex, from the leaf upwards; steps: the same as the JSON interface writes it."}
	refused := proofContent{About: "Section 11. Proofs that prove nothing, and why, for people. Those with steps are refused for a side that they name."}
	sizes := []int{1, 2, 3, 5, 7, 8, 255, 256, 257, 1000, longSize}
	for _, t := range trees {
		leaves := long.leaves[t.name]
		for _, n := range sizes {
			for _, i := range slices.Compact([]int{0, n / 3, n / 2, n - 1}) {
				good.Inclusion = append(good.Inclusion, inclusionOf(t, leaves, i, n))
			}
			for _, m := range slices.Compact([]int{0, 1, n / 2, n - 1, n}) {
				good.Consistency = append(good.Consistency, consistencyOf(t, leaves, m, n))
			}
		}
		refused.Inclusion = append(refused.Inclusion, wrongInclusions(t, leaves)...)
		refused.Consistency = append(refused.Consistency, wrongConsistencies(t, leaves)...)
	}
	for _, v := range good.Inclusion {
		if err := v.check(); err != nil {
			return nil, fmt.Errorf("inclusion %d in %d: %w", v.Index, v.Size, err)
		}
	}
	for _, v := range good.Consistency {
		if err := v.check(); err != nil {
			return nil, fmt.Errorf("consistency %d to %d: %w", v.From, v.To, err)
		}
	}
	for i := range refused.Inclusion {
		err := refused.Inclusion[i].check()
		if err == nil {
			return nil, fmt.Errorf("%s: was accepted", refused.Inclusion[i].Name)
		}
		refused.Inclusion[i].Why = err.Error()
	}
	for i := range refused.Consistency {
		err := refused.Consistency[i].check()
		if err == nil {
			return nil, fmt.Errorf("%s: was accepted", refused.Consistency[i].Name)
		}
		refused.Consistency[i].Why = err.Error()
	}
	return []file{{"proofs.json", good}, {"proofs-refused.json", refused}}, nil
}

func inclusionOf(t tree, leaves []hash, i, n int) inclusionVector {
	path := t.inclusion(i, leaves[:n])
	return inclusionVector{
		Tree: t.name, Index: uint64(i), Size: uint64(n), Leaf: hexHash(leaves[i]), Root: hexHash(t.root(leaves[:n])),
		Path: hexAll(path), Steps: steps(uint64(i), uint64(n), path),
	}
}

func consistencyOf(t tree, leaves []hash, m, n int) consistencyVector {
	return consistencyVector{
		Tree: t.name, From: uint64(m), To: uint64(n), OldRoot: hexHash(t.root(leaves[:m])), NewRoot: hexHash(t.root(leaves[:n])),
		Path: hexAll(t.consistency(m, leaves[:n])),
	}
}

func treeNamed(name string) tree {
	if name == sha256Tree.name {
		return sha256Tree
	}
	return sha3Tree
}

func unhexAll(texts []string) []hash {
	var all []hash
	for _, text := range texts {
		all = append(all, unhex(text))
	}
	return all
}

func (v inclusionVector) check() error {
	path := unhexAll(v.Path)
	if err := treeNamed(v.Tree).checkInclusion(unhex(v.Leaf), v.Index, v.Size, path, unhex(v.Root)); err != nil {
		return err
	}
	if v.Steps != nil && !slices.Equal(v.Steps, steps(v.Index, v.Size, path)) {
		return fmt.Errorf("a step names another side")
	}
	return nil
}

func (v consistencyVector) check() error {
	return treeNamed(v.Tree).checkConsistency(v.From, unhex(v.OldRoot), v.To, unhex(v.NewRoot), unhexAll(v.Path))
}

func wrongInclusions(t tree, leaves []hash) []inclusionVector {
	base := func(name string) inclusionVector {
		v := inclusionOf(t, leaves, 5, 7)
		v.Name, v.Steps = name, nil
		return v
	}
	with := func(name string, change func(*inclusionVector)) inclusionVector {
		v := base(name)
		change(&v)
		return v
	}
	// The leaf that is an inner node: the parent of leaves 4 and 5 under an index and size that call for fewer steps,
	// and under its own index with the upper end of the path.
	parent := t.node(leaves[4], leaves[5])
	return []inclusionVector{
		with("another leaf", func(v *inclusionVector) { v.Leaf = hexHash(leaves[4]) }),
		with("another index", func(v *inclusionVector) { v.Index = 4 }),
		with("an index beyond the size", func(v *inclusionVector) { v.Index = 7 }),
		with("a size that calls for another path", func(v *inclusionVector) { v.Size = 9 }),
		with("size 0", func(v *inclusionVector) { v.Size, v.Index = 0, 0 }),
		with("another root", func(v *inclusionVector) { v.Root = hexHash(t.root(leaves[:8])) }),
		with("a hash missing", func(v *inclusionVector) { v.Path = v.Path[1:] }),
		with("a hash too many", func(v *inclusionVector) { v.Path = append(slices.Clone(v.Path), v.Path[0]) }),
		with("no path", func(v *inclusionVector) { v.Path = []string{} }),
		with("two hashes exchanged", func(v *inclusionVector) { v.Path = []string{v.Path[1], v.Path[0], v.Path[2]} }),
		with("an inner node as leaf", func(v *inclusionVector) { v.Leaf, v.Path = hexHash(parent), v.Path[1:] }),
		with("an inner node as leaf of a smaller tree's index", func(v *inclusionVector) { v.Leaf, v.Path, v.Index = hexHash(parent), v.Path[1:], 2 }),
		with("a step that names the other side", func(v *inclusionVector) {
			v.Steps = inclusionOf(t, leaves, 5, 7).Steps
			v.Steps[0].Position = "right"
		}),
	}
}

func wrongConsistencies(t tree, leaves []hash) []consistencyVector {
	with := func(name string, m, n int, change func(*consistencyVector)) consistencyVector {
		v := consistencyOf(t, leaves, m, n)
		v.Name = name
		change(&v)
		return v
	}
	return []consistencyVector{
		with("another old root", 3, 7, func(v *consistencyVector) { v.OldRoot = hexHash(t.root(leaves[:4])) }),
		with("another new root", 3, 7, func(v *consistencyVector) { v.NewRoot = hexHash(t.root(leaves[:8])) }),
		with("sizes reversed", 3, 7, func(v *consistencyVector) { v.From, v.To, v.OldRoot, v.NewRoot = v.To, v.From, v.NewRoot, v.OldRoot }),
		with("another old size", 3, 7, func(v *consistencyVector) { v.From = 5 }),
		with("a hash missing", 3, 7, func(v *consistencyVector) { v.Path = v.Path[:len(v.Path)-1] }),
		with("a hash too many", 3, 7, func(v *consistencyVector) { v.Path = append(slices.Clone(v.Path), v.Path[0]) }),
		with("the old root kept, as older relays do", 4, 7, func(v *consistencyVector) { v.Path = append([]string{v.OldRoot}, v.Path...) }),
		with("no path", 3, 7, func(v *consistencyVector) { v.Path = []string{} }),
		with("a path between equal sizes", 7, 7, func(v *consistencyVector) { v.Path = []string{v.OldRoot} }),
		with("equal sizes, two roots", 7, 7, func(v *consistencyVector) { v.OldRoot = hexHash(leaves[0]) }),
		with("an empty tree with a root", 0, 7, func(v *consistencyVector) { v.OldRoot = hexHash(leaves[0]) }),
	}
}
