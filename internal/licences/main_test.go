package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`

const agpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU Affero General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Affero General Public License for more details.`

func TestJudgement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ licence, source, want string }{
		"permissive":          {mit, "package p", ""},
		"file under RCL":      {mit, "// Licensed under the Redpanda Community\n// License\n\npackage p", "a.go is not permissive"},
		"link to RCL":         {mit, "// https://github.com/redpanda-data/connect/blob/main/licenses/rcl.md\npackage p", "a.go is not permissive"},
		"file under BSL":      {mit, "// Use of this software is governed by the Business Source License\npackage p", "a.go is not permissive"},
		"no licence":          {"", "package p", "no licence in"},
		"unknown licence":     {"Ask us for the price of each copy of it.", "package p", "no licence that is known"},
		"copyleft":            {agpl, "package p", "AGPL-3.0"},
		"one of two licences": {mit + "\n\n" + agpl, "package p", "AGPL-3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, text := range map[string]string{"LICENSE": c.licence, "a.go": c.source} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m := &module{Path: "example.com/m", Dir: dir}
			p := goPackage{ImportPath: m.Path, Dir: dir, Module: m, GoFiles: []string{"a.go"}}
			err := m.read(dir)
			if err == nil {
				err = m.judge()
			}
			if err == nil {
				err = p.headers()
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, not %q", err, c.want)
			}
		})
	}
}
