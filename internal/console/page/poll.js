// What comes again and again, as long as somebody looks.

// each does something at once and then each so many milliseconds, but not while the page is hidden, until the signal.
export async function each(ms, signal, work) {
  while (!signal.aborted) {
    if (!document.hidden) await work();
    await pause(ms, signal);
  }
}

// pause waits, and while the page is hidden until it is seen again.
async function pause(ms, signal) {
  await once(signal, done => { const timer = setTimeout(done, ms); return () => clearTimeout(timer); });
  while (document.hidden && !signal.aborted) {
    await once(signal, done => {
      document.addEventListener('visibilitychange', done);
      return () => document.removeEventListener('visibilitychange', done);
    });
  }
}

// once waits for what start arranges, or for the signal; start returns what undoes it.
export const once = (signal, start) => new Promise(resolve => {
  const done = () => { undo(); signal.removeEventListener('abort', done); resolve(); };
  const undo = start(done);
  if (signal.aborted) done();
  else signal.addEventListener('abort', done);
});
