package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// A pager that shows one screen for an hour is no silence; 30 s without a sign of life are.
func TestSilenceOfATap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := false
		take, stop := whileSomethingComes(func([]byte) (bool, error) {
			time.Sleep(time.Hour)
			return true, nil
		}, func() { silent = true })
		defer stop()
		for _, data := range [][]byte{[]byte("{}"), nil, []byte("{}")} {
			if more, err := take(data); !more || err != nil {
				t.Fatal(more, err)
			}
			time.Sleep(tapSilence - time.Second)
			synctest.Wait()
			if silent {
				t.Fatal("it is silent while something comes")
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !silent {
			t.Error("nothing comes, and it is not silent")
		}
	})
}
