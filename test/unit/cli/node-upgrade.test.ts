/** `dog node upgrade` and `dog cluster upgrade`, as far as they go without a sheep to replace. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DogBench } from '../../helpers/run-dog.js';

async function withBench(body: (bench: DogBench) => Promise<void>): Promise<void> {
  const bench = await DogBench.start();
  try {
    await body(bench);
  } finally {
    await bench.stop();
  }
}

test('a cluster with a member down is not touched', () =>
  withBench(async (bench) => {
    bench.cluster.nodes[1]!.up = false;
    const { exit, stderr } = await bench.run('cluster upgrade');
    assert.is(exit, 1);
    assert.match(stderr, /^The cluster is not healthy, nothing was upgraded: .*:7001 is down/);
    assert.not(bench.cluster.calls.includes('node.upgrade'));
  }));

test('nor is one with a member that is catching up', () =>
  withBench(async (bench) => {
    bench.cluster.nodes[2]!.syncing = true;
    const { exit, stderr } = await bench.run('cluster upgrade');
    assert.is(exit, 1);
    assert.match(stderr, ':7002 is catching up');
  }));

test('a sheep that cannot be upgraded says why', () =>
  withBench(async (bench) => {
    const { exit, stderr } = await bench.run('node upgrade');
    assert.is(exit, 2);
    assert.match(stderr, /^Failed to upgrade 127\.0\.0\.1:\d+: no method node\.upgrade/);
  }));

test('a timeout that is no number of seconds is refused before anything is asked', () =>
  withBench(async (bench) => {
    for (const text of ['0', '-1', 'soon', '1.5']) {
      const { exit } = await bench.run('cluster upgrade', { args: [`--timeout=${text}`] });
      assert.is(exit, 64, text);
    }
    assert.is(bench.cluster.calls.length, 0);
  }));

test.run();
