// What comes again and again, as long as somebody looks.

const UNSEEN = 60_000; // ms that a page may be hidden, until it is taken for one that nobody looks at

// each does something at once and then each so many milliseconds, but not while the page is hidden, until the signal.
export async function each(ms, signal, work) {
  for (;;) {
    await seen(signal);
    if (signal.aborted) return;
    await work();
    await once(signal, done => { const timer = setTimeout(done, ms); return () => clearTimeout(timer); });
  }
}

// seen waits, while the page is hidden, until somebody sees it again.
export async function seen(signal) {
  while (document.hidden && !signal.aborted) {
    await once(signal, done => {
      document.addEventListener('visibilitychange', done);
      return () => document.removeEventListener('visibilitychange', done);
    });
  }
}

// Pages of the console in one browser tell each other when they are seen: over plain HTTP they share six connections. Which of two
// is told first that somebody went from one to the other is not said, so the one that is hidden asks.
const pages = new BroadcastChannel('iotcast console');
const tell = () => pages.postMessage(document.hidden ? 'hidden' : 'seen');
document.addEventListener('visibilitychange', tell);
pages.addEventListener('message', ({ data }) => { if (data === 'hidden' && !document.hidden) tell(); });
tell();

// looking returns a signal that is aborted when nobody looks at this page any more: it has been hidden for a minute, or another
// page of the console is seen instead. It is aborted with the signal that is given, too.
export function looking(signal) {
  const away = new AbortController(), until = AbortSignal.any([signal, away.signal]);
  let timer;
  const leave = () => { if (document.hidden) away.abort(); };
  const change = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(leave, UNSEEN);
  };
  document.addEventListener('visibilitychange', change, { signal: until });
  pages.addEventListener('message', ({ data }) => { if (data === 'seen') leave(); }, { signal: until });
  until.addEventListener('abort', () => clearTimeout(timer), { once: true });
  change();
  return until;
}

// once waits for what start arranges, or for the signal; start returns what undoes it.
export const once = (signal, start) => new Promise(resolve => {
  const done = () => { undo(); signal.removeEventListener('abort', done); resolve(); };
  const undo = start(done);
  if (signal.aborted) done();
  else signal.addEventListener('abort', done);
});
