// How all tests start Chromium: as root, as CI runs, and without what it would
// do on its own.
import { chromium } from 'playwright-core';

export const launch = (executablePath, ...more) => chromium.launch({
  executablePath,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...more,
  ],
});
