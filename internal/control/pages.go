package control

import (
	"encoding/base64"
	"strings"
)

const (
	// defaultPageSize is how many entries a page has unless the request says otherwise.
	defaultPageSize = 100
	// maxPageSize is how many a request may ask for. The options of some types have no such bound.
	maxPageSize = 1000
)

// page is what a request wants of a list.
type page struct {
	of    string // which list
	size  int
	after string // the key after which it begins
}

// pageOf reads what a request says. Which list it is stands in its tokens, so that one of another list is found out.
func pageOf(of string, size int64, token string) (page, error) {
	if size < 0 || size > maxPageSize {
		return page{}, invalid(wrong("page_size", "is %d, and may be 0 to %d", size, maxPageSize))
	}
	p := page{of: of, size: int(size)}
	if p.size == 0 {
		p.size = defaultPageSize
	}
	if token == "" {
		return p, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	list, after, ok := strings.Cut(string(text), "\n")
	if err != nil || !ok || list != of || after == "" {
		return p, invalid(wrong("page_token", "is none of this list: take the next_page_token of the page before, or none to begin"))
	}
	p.after = after
	return p, nil
}

// next is the token of the page after an entry.
func (p page) next(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.of + "\n" + last))
}

// cut leaves the entries of a page, of which there may be one more, and names the next.
func cut[T any](p page, all []T, key func(T) string) ([]T, string) {
	if len(all) <= p.size {
		return all, ""
	}
	all = all[:p.size]
	return all, p.next(key(all[p.size-1]))
}
