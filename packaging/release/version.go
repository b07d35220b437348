package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// first is the version that snapshots lead to before there is a tag.
const first = "0.1.0"

// versionOf is the version that was given, or that of the commit.
func versionOf(root, given string) (string, error) {
	if given != "" {
		if _, err := semver.StrictNewVersion(given); err != nil {
			return "", fmt.Errorf("-version: %q is no version as 0.2.0 or 0.2.0-rc.1: %w", given, err)
		}
		return given, nil
	}
	described, err := git(root, "describe", "--tags", "--long", "--dirty", "--abbrev=12", "--match", "v[0-9]*")
	if err == nil {
		return ofTag(described)
	}
	count, err := git(root, "rev-list", "--count", "HEAD")
	if err != nil {
		return "", fmt.Errorf("no version: say -version where there is no repository: %w", err)
	}
	commit, err := git(root, "describe", "--always", "--dirty", "--abbrev=12")
	if err != nil {
		return "", err
	}
	return snapshot(first, count, "g"+commit), nil
}

// ofTag is the version that git describe --long tells, as v0.2.0-7-g0123456789ab: that of the tag itself, or of a snapshot that
// is newer than the tag, and older than what comes next.
func ofTag(described string) (string, error) {
	rest, dirty := strings.CutSuffix(described, "-dirty")
	parts := strings.Split(rest, "-")
	if len(parts) < 3 {
		return "", fmt.Errorf("git describe says %q, without the number of commits", described)
	}
	tag := strings.Join(parts[:len(parts)-2], "-")
	count, commit := parts[len(parts)-2], parts[len(parts)-1]
	version, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
	if err != nil {
		return "", fmt.Errorf("the git tag %s: %w", tag, err)
	}
	if count == "0" && !dirty {
		return version.String(), nil
	}
	if dirty {
		commit += "-dirty"
	}
	if version.Prerelease() != "" {
		return fmt.Sprintf("%v.%s.%s", version, count, strings.ReplaceAll(commit, "-", ".")), nil
	}
	return snapshot(version.IncMinor().String(), count, commit), nil
}

// snapshot is a version before next. Debian and RPM have ~ for the hyphen, and no other may follow it.
func snapshot(next, count, commit string) string {
	return fmt.Sprintf("%s-dev.%s.%s", next, count, strings.ReplaceAll(commit, "-", "."))
}

// dateOf is the time of all files: SOURCE_DATE_EPOCH, or that of the commit.
func dateOf(root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = git(root, "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, fmt.Errorf("no time: set SOURCE_DATE_EPOCH where there is no repository: %w", err)
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %q is no number of seconds", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func git(root string, args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = errors.New(strings.TrimSpace(string(failed.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}
