// The last messages that were lost, and why.
import { get } from '../../api.js';
import { el } from '../../../../page/dom.js';
import { day } from '../../../../page/format.js';
import { table } from '../../../../page/table.js';
import { card, notice, trouble } from '../../facts.js';
import { each } from '../../poll.js';
import { keep } from './ways.js';

const last = way => way.steps.at(-1) ?? {};
const columns = [
  { id: 'at', title: 'Time', text: way => day(Date.parse(last(way).at ?? way.message.event_metadata.created_at)) },
  { id: 'device', title: 'Device', text: way => way.message.details?.device_id ?? '–' },
  { id: 'topic', title: 'Topic', text: way => way.message.details?.mqtt_topic ?? '' },
  { id: 'stream', title: 'Trigger', text: way => last(way).stream ?? way.message.stream ?? '' },
  { id: 'why', title: 'Why', text: way => last(way).reason ?? (last(way).step ?? '').replaceAll('_', ' ') },
];

// losses makes the part of a view. Show opens the way of one.
export function losses({ signal }, show) {
  const said = notice();
  const rows = table({
    label: 'Lost messages', columns, key: way => way.event_id, open: way => { keep([way]); show(way.event_id); },
    empty: 'None since iotcast began: no message was rejected or given up.',
  });
  each(5000, signal, async () => {
    try {
      rows.update((await get('/tap/losses', { signal })).ways ?? []);
      said.well();
    } catch (error) {
      if (!signal.aborted) said.fail(trouble(error));
    }
  });
  return card('Lost lately', [el('span', { className: 'muted', textContent: 'rejected or given up, the last 200' })], said.element, rows.element);
}
