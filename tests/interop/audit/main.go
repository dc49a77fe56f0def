// Another implementation of the formats checks a log of ours: golang.org/x/mod/sumdb, on which Go's own checksum database stands.
//
// usage: audit DIR PROOF
//
// Opens the checkpoint with the key in DIR/vkey, reads every record as a leaf, has each one's inclusion proven through the tiles, checks the tree's
// consistency with every earlier checkpoint of the log, and checks the proof of one record that `countersign audit prove` made. Prints what it did.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// tiles are read from files as tlog-tiles has their paths; a partial one may have become full, as the format allows.
type tiles struct{ dir string }

func (t tiles) Height() int { return height }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		// x/mod says tile/8/L/N, tlog-tiles tile/L/N.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			full := tile
			full.W = 1 << height
			path = strings.Replace(full.Path(), "tile/8/", "tile/", 1)
			if data, err = os.ReadFile(filepath.Join(t.dir, path)); err != nil {
				return nil, err
			}
			data = data[:tile.W*tlog.HashSize]
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		read = append(read, data)
	}
	return read, nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func assert(holds bool, what string, arguments ...interface{}) {
	if !holds {
		check(fmt.Errorf(what, arguments...))
	}
}

func read(path ...string) []byte {
	data, err := os.ReadFile(filepath.Join(path...))
	check(err)
	return data
}

// open verifies a checkpoint and returns its tree.
func open(text []byte, verifier note.Verifier) tlog.Tree {
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	assert(len(lines) == 4 && lines[0] == verifier.Name(), "not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

// apart takes apart a file of several notes: each ends with its one signature line.
func apart(text []byte) [][]byte {
	var notes [][]byte
	var current []byte
	for _, line := range bytes.SplitAfter(text, []byte("\n")) {
		current = append(current, line...)
		if bytes.HasPrefix(line, []byte("\u2014 ")) {
			notes = append(notes, current)
			current = nil
		}
	}
	return notes
}

func main() {
	dir := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(dir, "vkey"))))
	check(err)
	tree := open(read(dir, "checkpoint"), verifier)
	hashes := tlog.TileHashReader(tree, tiles{dir})

	files, err := filepath.Glob(filepath.Join(dir, "entries", "*.jsonl"))
	check(err)
	sort.Strings(files)
	var records [][]byte
	for _, file := range files {
		text := strings.TrimSuffix(string(read(file)), "\n")
		for _, line := range strings.Split(text, "\n") {
			records = append(records, []byte(line))
		}
	}
	assert(int64(len(records)) >= tree.N, "%d records, %d signed", len(records), tree.N)
	for index := int64(0); index < tree.N; index++ {
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		check(err)
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(records[index])))
	}

	// There are none before the log's second file.
	kept, err := os.ReadFile(filepath.Join(dir, "checkpoints"))
	if !os.IsNotExist(err) {
		check(err)
	}
	earlier := apart(kept)
	for _, text := range earlier {
		old := open(text, verifier)
		if old.N == 0 {
			continue
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	}

	parts := strings.SplitN(string(read(os.Args[2])), "\n\n", 2)
	assert(len(parts) == 2, "no proof")
	lines := strings.Split(parts[0], "\n")
	assert(lines[0] == "c2sp.org/tlog-proof@v1", "no proof: %q", lines[0])
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}
	proven := open([]byte(parts[1]), verifier)
	check(tlog.CheckRecord(proof, proven.N, proven.Hash, index, tlog.RecordHash(record)))
	assert(bytes.Equal(record, records[index]), "the proof is of another record")

	fmt.Printf("%d records, %d earlier checkpoints, and the proof of record %d\n", tree.N, len(earlier), index)
}
