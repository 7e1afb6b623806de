/** The planned end of a server: what is at work is answered, what comes after is not, nothing is waited for long. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { intercept, MemoryProvider } from '../../helpers/memory-device.js';
import { attach, closeAll, eventually, ManualClock, request, setup } from './raw-client.js';

const WRITE = 1;
const data = Buffer.from('abc');

/** A device that holds every request until `release` is called. */
function heldProvider() {
  const waiting: (() => void)[] = [];
  const provider = new MemoryProvider((device) =>
    intercept(device, () => new Promise<void>((resolve) => waiting.push(resolve))),
  );
  return { provider, waiting, release: () => waiting.splice(0).forEach((go) => void go()) };
}

test('a request at work is answered before the connection ends, a later one is not', async () => {
  const { provider, waiting, release } = heldProvider();
  const { connect, server } = setup({ provider, clock: new ManualClock() });
  const client = await attach(connect());
  client.send(request(WRITE, 0, 3, { cookie: 1, data }));
  await eventually(() => waiting.length === 1, 'the request is at work');
  const closed = server.close();
  client.send(request(WRITE, 0, 3, { cookie: 2, data }));
  assert.ok(await client.quiet());
  release();
  assert.equal(await client.simpleReply(), { error: 0, cookie: 1n });
  assert.is((await client.rest()).length, 0);
  await closed;
  assert.is(waiting.length, 0);
  assert.is(provider.volumes.get('disk')!.counters.closes, 1);
});

test('half a request is forgotten', async () => {
  const { connect, server } = setup({ clock: new ManualClock() });
  const client = await attach(connect());
  client.send(request(WRITE, 0, 3, { cookie: 1, data }).subarray(0, 29));
  assert.ok(await client.quiet());
  await server.close();
  assert.is((await client.rest()).length, 0);
});

test('a request that the device never finishes is not waited for', async () => {
  const { provider, waiting } = heldProvider();
  const clock = new ManualClock();
  const { connect, server } = setup({ provider, clock });
  const client = await attach(connect());
  client.send(request(WRITE, 0, 3, { cookie: 1, data }));
  await eventually(() => waiting.length === 1, 'the request is at work');
  const closed = server.close();
  clock.advance(2_001);
  assert.is((await client.rest()).length, 0);
  clock.advance(10_001);
  await closed;
});

test.after(closeAll);
test.run();
