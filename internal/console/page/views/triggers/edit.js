// The form that makes and changes a trigger, with the stream that it becomes beside it.
import * as live from '../../live.js';
import { get, pages, patch, post, versioned } from '../../api.js';
import { fieldset } from '../../dialog.js';
import { el, say } from '../../../../page/dom.js';
import { faster } from './one.js';
import { address, path, ruleOf } from './rule.js';

export const create = (view, context) => edit(view, context, undefined);
export const change = async (view, context, id) => edit(view, context, { id, ...await versioned(path(id), { signal: context.signal }) });

async function every(where, field, signal) {
  const all = [];
  try {
    for await (const page of pages(where, field, { signal })) all.push(...page);
  } catch (error) {
    if (error.status !== 403) throw error; // who may not see them types the ID
  }
  return all.map(one => one.id);
}

async function edit(view, { account, go, signal, query }, before) {
  const trigger = before?.value ?? {}, { kind, rule, to } = ruleOf(trigger);
  const [registries, brokers] = await Promise.all([
    every('/iot-devices/v1/registries?pageSize=1000', 'registries', signal), every('/iot-broker/v1/brokers?pageSize=1000', 'brokers', signal)]);
  const routes = Object.keys(live.now().samples.at(-1)?.routes ?? {}).map(route => route.split(' '));
  const gateways = [...new Set(routes.map(([gateway]) => gateway))], only = list => list.length === 1 ? list[0] : '';
  const choice = (list, value) => ({ suggestions: list, value: value ?? only(list) });

  const set = fieldset([
    { name: 'name', label: 'Name', value: trigger.name, required: true, hint: '3 to 63 of a-z, 0-9 and -, beginning with a letter' },
    { name: 'description', label: 'Description', value: trigger.description },
    { name: 'kind', label: 'Messages of', type: 'select', value: kind, required: true, options: [['iotMessage', 'devices of a registry'], ['iotBrokerMessage', 'a broker']] },
    { name: 'registryId', path: 'rule.iotMessage.registryId', label: 'Registry', required: true, ...choice(registries, rule.registryId ?? query.get('registry') ?? undefined) },
    { name: 'deviceId', path: 'rule.iotMessage.deviceId', label: 'Device', value: rule.deviceId ?? query.get('device') ?? '', hint: 'Empty: all of the registry' },
    { name: 'brokerId', path: 'rule.iotBrokerMessage.brokerId', label: 'Broker', required: true, ...choice(brokers, rule.brokerId) },
    { name: 'mqttTopic', label: 'MQTT topic', value: rule.mqttTopic, placeholder: '$devices/+/events', hint: 'May have + and #. Empty: all topics' },
    { name: 'gatewayId', label: 'Gateway', required: true, ...choice(gateways, to.gatewayId) },
    { name: 'path', path: 'gatewayWebsocketBroadcast.path', label: 'Path', required: true, placeholder: '/telemetry', ...choice([...new Set(routes.map(([, ...p]) => p.join(' ')))], to.path) },
    { name: 'size', path: 'batchSettings.size', label: 'Messages of a batch, at most', type: 'number', value: rule.batchSettings?.size ?? '1', required: true },
    { name: 'cutoff', path: 'batchSettings.cutoff', label: 'Seconds that a batch waits, at most', type: 'number', value: parseFloat(rule.batchSettings?.cutoff ?? '1'), required: true },
    { name: 'serviceAccountId', label: 'Service account that it acts as', value: to.serviceAccountId },
  ]);
  const { inputs } = set, field = name => set.element.querySelector(`[data-field=${name}]`);
  inputs.size.min = 1;
  inputs.size.max = 1000;
  Object.assign(inputs.cutoff, { min: 0, max: 60, step: 'any' });

  function request() {
    const v = set.values(), filled = pairs => Object.fromEntries(Object.entries(pairs).filter(([, value]) => value !== '' && value !== undefined));
    const common = {
      ...(v.mqttTopic && { mqttTopic: v.mqttTopic }), batchSettings: filled({ size: v.size, cutoff: v.cutoff === '' ? '' : `${v.cutoff}s` }),
      gatewayWebsocketBroadcast: filled({ gatewayId: v.gatewayId, path: v.path, serviceAccountId: v.serviceAccountId }),
    };
    const from = v.kind === 'iotMessage' ? filled({ registryId: v.registryId, deviceId: v.deviceId }) : filled({ brokerId: v.brokerId });
    return { name: v.name, description: v.description, rule: { [v.kind]: { ...from, ...common } } };
  }

  // The kind decides which fields there are, the registry which devices.
  const unused = () => inputs.kind.value === 'iotMessage' ? ['brokerId'] : ['registryId', 'deviceId'];
  const devices = el('datalist', { id: 'devices-of-registry' });
  set.element.append(devices);
  inputs.deviceId.setAttribute('list', devices.id);
  let of;
  async function arrange() {
    const away = unused();
    for (const name of ['registryId', 'deviceId', 'brokerId']) {
      field(name).hidden = away.includes(name);
      inputs[name].required = !away.includes(name) && name !== 'deviceId';
    }
    const registry = inputs.registryId.value;
    if (registry === of || !registries.includes(registry)) return;
    of = registry;
    const { devices: found = [] } = await get(`/iot-devices/v1/devices?${new URLSearchParams({ registryId: registry, pageSize: 1000 })}`, { signal }).catch(() => ({}));
    if (of === registry) devices.replaceChildren(...found.map(device => el('option', { value: device.id })));
  }

  // What it becomes, as one types.
  const yaml = el('pre', { tabIndex: 0, ariaLabel: 'The stream as YAML' }), list = el('ul', { className: 'problems' });
  const verdict = el('p', { className: 'muted', role: 'status', textContent: 'Checking.' });
  const touched = new Set(before ? Object.keys(inputs) : []);
  let pending, checking = new AbortController(), checkable = true;
  function check() {
    clearTimeout(pending);
    if (checkable) pending = setTimeout(look, 250);
  }
  async function look() {
    checking.abort();
    checking = new AbortController();
    const until = AbortSignal.any([signal, checking.signal]);
    try {
      const { yaml: text, problems: found = [] } = await post('/triggers/v1/triggers:check', { ...request(), ...(before && { triggerId: before.id, updateMask: 'name,description,rule' }) }, { signal: until });
      const problems = inputs.name.value ? found : [{ field: 'name', description: 'is missing' }, ...found.filter(({ field: where }) => where !== 'id' && where !== 'name')];
      if (text) yaml.textContent = text;
      yaml.hidden = !yaml.textContent;
      yaml.classList.toggle('old', !text);
      list.replaceChildren(...problems.map(({ field: where, description }) => el('li', {}, where && el('code', { textContent: where }), ` ${description}`)));
      verdict.textContent = problems.length ? `${problems.length === 1 ? 'One thing is' : `${problems.length} things are`} to be mended:` : 'It can be saved as it is.';
      verdict.className = problems.length ? 'error' : 'fine';
      set.show(problems.filter(({ field: where = '' }) => [...touched].some(name => set.owns(name, where))));
    } catch (error) {
      if (until.aborted) return;
      if (error.status === 404 || error.status === 501) checkable = false;
      verdict.textContent = error.status === 404 ? 'This iotcast does not check while one types: it does when saved.' : error.message;
    }
  }
  signal.addEventListener('abort', () => { clearTimeout(pending); checking.abort(); }, { once: true });
  set.element.addEventListener('input', event => {
    touched.add(event.target.name);
    arrange();
    check();
  });
  set.element.addEventListener('focusout', event => {
    if (!event.target.name || !event.target.value) return;
    touched.add(event.target.name);
    check();
  });

  const conflict = el('div', { className: 'conflict', role: 'alert', hidden: true });
  const save = el('button', { className: 'main', textContent: before ? 'Save' : 'Create' });
  const body = el('form', {
    noValidate: true, ariaLabel: before ? 'Change the trigger' : 'New trigger', async onsubmit(event) {
      event.preventDefault();
      if (save.ariaDisabled === 'true') return;
      for (const name in inputs) touched.add(name);
      if (!set.check()) return;
      clearTimeout(pending);
      checking.abort();
      save.ariaDisabled = 'true';
      try {
        const made = before ? await patch(path(before.id), { ...request(), updateMask: 'name,description,rule' }, { version: before.version })
          : await post('/triggers/v1/triggers', request());
        say(before ? 'Saved.' : 'Created.');
        go(address(made.id ?? before.id));
      } catch (error) {
        if (error.conflict && before) {
          conflict.replaceChildren(el('p', { textContent: await faster(before.id) }), el('button', { type: 'button', textContent: 'Show what it is now', onclick: () => go(location.hash) }),
            el('p', { className: 'muted', textContent: 'What you have typed is not kept then.' }));
          conflict.hidden = false;
          conflict.querySelector('button').focus();
        } else set.refuse(error);
      } finally {
        save.ariaDisabled = null;
      }
    },
  }, conflict, set.element, el('div', { className: 'buttons' }, el('a', { className: 'button', href: before ? address(before.id) : '#/triggers', textContent: 'Cancel' }), save));
  view.append(el('div', { className: 'edit' },
    el('section', { className: 'card', ariaLabel: 'Fields' }, el('div', { className: 'bar' }, el('h2', { textContent: before ? `Change ${trigger.name || before.id}` : 'New trigger' })), el('div', { className: 'inside' }, body)),
    el('section', { className: 'card', ariaLabel: 'The stream that it becomes' }, el('div', { className: 'bar' }, el('h2', { textContent: 'The stream that it becomes' })),
      el('div', { className: 'inside' }, verdict, list, yaml))));
  arrange();
  look();
  if (!before) inputs.name.focus();
}
