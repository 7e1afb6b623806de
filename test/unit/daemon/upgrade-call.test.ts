import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { type Upgrade, UpgradeCall } from '../../../src/daemon/upgrade-call.js';

const local = { local: true };

function setup(upgrade: Upgrade) {
  const calls = new UpgradeCall(upgrade);
  const inner = { call: async () => ({ result: 'inner' }) };
  const handler = calls.over(inner);
  const ask = async (params: object, caller = local) =>
    (await handler.call('node.upgrade', params, Buffer.alloc(0), () => {}, caller)).result;
  return { calls, handler, ask };
}

async function refusal(promise: Promise<unknown>): Promise<AppError> {
  try {
    await promise;
  } catch (error) {
    return AppError.from(error);
  }
  throw new Error('no refusal');
}

test('a caller from another machine is refused, and nothing is started', async () => {
  let started = 0;
  const { ask, handler } = setup(async () => {
    started++;
    return { pid: 7, outcome: Promise.resolve() };
  });
  assert.is((await refusal(ask({}, { local: false }))).code, 'not-supported');
  const unknown = handler.call('node.upgrade', {}, Buffer.alloc(0), () => {});
  assert.is((await refusal(unknown)).code, 'not-supported');
  assert.is(started, 0);
});

test('other calls go on to the handler behind', async () => {
  const { handler } = setup(() => Promise.reject(new Error('not wanted')));
  const answer = await handler.call('node.list', {}, Buffer.alloc(0), () => {}, { local: false });
  assert.is(answer.result, 'inner');
});

test('only one upgrade at a time is begun', async () => {
  const { ask } = setup(async () => ({ pid: 7, outcome: new Promise(() => {}) }));
  assert.equal(await ask({}), { pid: 7, done: false });
  assert.is((await refusal(ask({}))).code, 'again');
});

test('a failure before the switch is told at once, and another try is allowed', async () => {
  let tries = 0;
  const { ask } = setup(async () => {
    if (tries++ === 0) throw new AppError('system', 'the new process ended');
    return { pid: 8, outcome: Promise.resolve() };
  });
  assert.is((await refusal(ask({}))).message, 'the new process ended');
  assert.equal(await ask({}), { pid: 8, done: false });
});

test('a failure after the switch began is told to whoever asks for that process', async () => {
  let fail: (error: Error) => void = () => {};
  const outcome = new Promise<void>((_, reject) => {
    fail = reject;
  });
  const { ask } = setup(async () => ({ pid: 7, outcome }));
  await ask({});
  fail(new AppError('system', 'it died'));
  await outcome.catch(() => {});
  assert.is((await refusal(ask({ pid: 7 }))).message, 'it died');
  assert.equal(await ask({ pid: 8 }), { pid: process.pid, done: false });
});

test('the process asked for has taken over when it serves', async () => {
  const { ask, calls } = setup(() => Promise.reject(new Error('not wanted')));
  assert.equal(await ask({ pid: process.pid }), { pid: process.pid, done: false });
  calls.serving = true;
  assert.equal(await ask({ pid: process.pid }), { pid: process.pid, done: true });
});

test.run();
