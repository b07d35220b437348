package tests

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStateOnFullDisk: a change that cannot be kept is refused with what is wrong, as the overview says too. Nothing of it is there,
// and it can be made as soon as there is room.
func TestStateOnFullDisk(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.dir = smallDisk(t)
	m.launch("streams", "-o", writeFile(t, m.root("console: true")))
	m.waitReady()
	ballast := filepath.Join(m.dir, "ballast")
	fill(t, ballast)
	made, wide := 0, strings.Repeat("d", 256)
	for ; ; made++ { // what the file has of free pages is used first
		status, answer := m.rest(http.MethodPost, "/iot-devices/v1/registries", fmt.Sprintf(`{"name": "home-%d", "description": %q}`, made, wide))
		if status == http.StatusOK && made < 1000 {
			continue
		}
		if status != http.StatusInternalServerError || !strings.Contains(answer, "no space left on device") || !strings.Contains(answer, "state_dir") || strings.Contains(answer, m.dir) {
			t.Errorf("after %d registries: %d %s", made, status, answer)
		}
		break
	}
	if status, answer := m.rest(http.MethodGet, fmt.Sprintf("/iot-devices/v1/registries/home-%d", made), ""); status != http.StatusNotFound {
		t.Errorf("the one that was refused: %d %s", status, answer)
	}
	m.followOverview("a full disk", func(o overview) bool { return o.finding("unwritten") })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	m.post("/iot-devices/v1/registries", fmt.Sprintf(`{"name": "home-%d"}`, made))
	m.followOverview("a disk with room", func(o overview) bool { return !o.finding("unwritten") })
}
