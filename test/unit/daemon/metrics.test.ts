import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RequestCounters } from '../../../src/base/request-counters.js';
import { Metrics } from '../../../src/daemon/metrics.js';

function sheep() {
  const requests = new RequestCounters();
  const core = {
    cluster: { requests, activeRequests: 2, catchUp: { remaining: 0 } },
    store: undefined,
    membership: { view: undefined },
    epoch: 7,
    healthy: () => true,
  };
  const nbd = { connections: 1, activeRequests: 3 };
  // The parts of a sheep that metrics look at.
  const metrics = new Metrics(
    () => core as unknown as ReturnType<ConstructorParameters<typeof Metrics>[0]>,
    () => nbd,
  );
  return { metrics, requests };
}

test('requests of clients are counted by what they do, with the data they carry', async () => {
  const { metrics } = sheep();
  metrics.requestDone('WRITE', 1, 4096, undefined);
  metrics.requestDone('WRITE_ZEROES', 1, 1_000_000, undefined);
  metrics.requestDone('READ', 1, 512, undefined);
  metrics.requestDone('TRIM', 1, 65536, undefined);
  metrics.requestDone('FLUSH', 1, 0, undefined);
  metrics.requestDone('BLOCK_STATUS', 1, 65536, undefined);
  const counters = await metrics.counters();
  const client = Object.entries(counters).filter(([name]) => name.startsWith('client.'));
  assert.equal(Object.fromEntries(client), {
    'client.active': 3,
    'client.total': 6,
    'client.write': 2,
    'client.read': 1,
    'client.remove': 1,
    'client.flush': 1,
    'client.other': 1,
    'client.writeBytes': 4096,
    'client.readBytes': 512,
  });
});

test('requests of other sheep are counted apart', async () => {
  const { metrics, requests } = sheep();
  requests.done('write', 100);
  requests.done('read', 10);
  const counters = await metrics.counters();
  assert.is(counters['peer.total'], 2);
  assert.is(counters['peer.writeBytes'], 100);
  assert.is(counters['peer.readBytes'], 10);
  assert.is(counters['peer.active'], 2);
  assert.is(counters['client.total'], 0);
});

test('the sum and the count of a histogram keep their own names', async () => {
  const { metrics } = sheep();
  metrics.requestDone('READ', 2000, 512, undefined);
  metrics.requestDone('READ', 1000, 512, undefined);
  const counters = await metrics.counters();
  assert.is(counters['sheepfold_nbd_request_duration_seconds_sum{command="READ"}'], 3);
  assert.is(counters['sheepfold_nbd_request_duration_seconds_count{command="READ"}'], 2);
  assert.is(counters['sheepfold_nbd_request_bytes_total{command="READ"}'], 1024);
  assert.is(counters.sheepfold_cluster_epoch, 7);
});

test.run();
