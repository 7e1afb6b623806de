import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from '../../../src/base/clock.js';
import { Confirmer } from '../../../src/volume/confirmer.js';
import { Forwarded } from '../../../src/volume/forwarded.js';
import { emptyMessage, PeerType } from '../../../src/wire/peer-message.js';

const answer = () => emptyMessage(PeerType.device + 1);
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('a change that is asked for twice is done once, and its range stays locked until it is confirmed', async () => {
  const forwarded = new Forwarded();
  let runs = 0;
  let released = 0;
  const ask = () =>
    forwarded.run('n1/7', 1n, async (keep) => {
      runs++;
      keep(() => released++);
      return answer();
    });
  await Promise.all([ask(), ask()]);
  await ask();
  await turn();
  assert.equal([runs, released, forwarded.size], [1, 0, 1]);
  forwarded.confirm('n1/8', [1n]);
  assert.is(released, 0, 'another start of the gateway confirms nothing');
  forwarded.confirm('n1/7', [1n]);
  assert.equal([released, forwarded.size], [1, 0]);
});

test('the ranges of a gateway that is gone are unlocked, also of changes still under way', async () => {
  const forwarded = new Forwarded();
  let finish: () => void = () => {};
  let released = 0;
  const done = forwarded.run('n1/7', 1n, async (keep) => {
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    keep(() => released++);
    return answer();
  });
  forwarded.keepOnly((gateway) => gateway !== 'n1/7');
  finish();
  await done;
  await turn();
  assert.equal([released, forwarded.size], [1, 0]);
});

test('a change that failed may be tried again', async () => {
  const forwarded = new Forwarded();
  let runs = 0;
  const ask = () =>
    forwarded.run('n1/7', 1n, async () => {
      if (++runs === 1) throw new Error('refused');
      return answer();
    });
  await ask().then(
    () => assert.unreachable(),
    () => {},
  );
  await turn();
  await ask();
  assert.is(runs, 2);
});

test('every node asked is told of the outcome, again when the link breaks, and not when it is gone', async () => {
  const sent: string[] = [];
  let broken = true;
  const deferred: (() => void)[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    wallMs: () => 0,
    defer: (run) => void deferred.push(run),
    after: (_delayMs, run) => {
      deferred.push(run);
      return { cancel: () => {} };
    },
  };
  const confirmer = new Confirmer({
    clock,
    isPresent: (nodeId) => nodeId !== 'gone',
    send: async (nodeId, line, ids) => {
      sent.push(`${nodeId} ${line} ${ids.join()}`);
      if (broken) throw new Error('link');
    },
  });
  const id = confirmer.begin();
  for (const nodeId of ['a', 'gone']) confirmer.ask(id, 'line', nodeId);
  confirmer.end(id);
  for (let i = 0; i < 3; i++) {
    for (const run of deferred.splice(0)) run();
    await turn();
    broken = false;
  }
  assert.equal(sent, ['a line 1', 'a line 1']);
});

test.run();
