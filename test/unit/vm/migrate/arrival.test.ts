/** Where a volume is found on the host that a guest comes to. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { arrivalOf, isReachedAnywhere } from '../../../../src/vm/migrate/arrival.js';
import { nbdVolume } from './facts.js';

const socket = '/run/sheepfold/nbd.sock';
const doors = { nbdPort: 10809, nbdSocket: socket, nbdTls: 'off' } as const;
const there = { host: '10.0.0.2', doors };
const places = [{ socket }, { host: '10.0.0.1', port: 10809 }, { host: '10.0.0.2', port: 10809 }];

test('a socket of one name on both hosts stays', () => {
  assert.equal(arrivalOf(nbdVolume({ place: { socket } }), there, places), { kind: 'same' });
});

test("a disk goes from the source's door to that of the destination's sheep, by its socket first", () => {
  const disk = nbdVolume({ place: { host: '10.0.0.1', port: 10809 } });
  assert.equal(arrivalOf(disk, there, places), { kind: 'moved', place: { socket } });
  const withoutSocket = { ...there, doors: { nbdPort: 10809, nbdTls: 'off' } as const };
  const place = { host: '10.0.0.2', port: 10809 };
  assert.equal(arrivalOf(disk, withoutSocket, places), { kind: 'moved', place });
});

test('what no sheep tells as its door is not touched', () => {
  const inContainer = nbdVolume({ place: { socket: '/srv/nbd.sock' } });
  assert.equal(arrivalOf(inContainer, there, places), { kind: 'unsure' });
  const passedOn = nbdVolume({ place: { host: '192.0.2.7', port: 1 } });
  assert.equal(arrivalOf(passedOn, there, places), { kind: 'same' });
});

test('without a sheep that is known, only what all hosts reach is sure', () => {
  assert.equal(arrivalOf(nbdVolume(), undefined, places), { kind: 'same' });
  assert.equal(arrivalOf(nbdVolume({ place: { socket } }), undefined, places), { kind: 'unsure' });
});

test('doors that cannot be right are refused', () => {
  const at = (nbdTls: 'off' | 'require', tls: boolean) =>
    arrivalOf(nbdVolume({ tls }), { ...there, doors: { ...doors, nbdTls } }, places);
  assert.equal(at('off', true), { kind: 'refused', reason: 'tls-unknown' });
  assert.equal(at('require', false), { kind: 'refused', reason: 'tls-wanted' });
  const none = { ...there, doors: { nbdPort: 0, nbdTls: 'off' } as const };
  assert.equal(arrivalOf(nbdVolume(), none, places), { kind: 'refused', reason: 'no-door' });
});

test('loopback in all its spellings means another machine elsewhere', () => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1', 'LOCALHOST']) {
    assert.not.ok(isReachedAnywhere({ host, port: 1 }), host);
  }
  assert.ok(isReachedAnywhere({ host: '10.0.0.1', port: 1 }));
  assert.ok(isReachedAnywhere({ host: 'localhost.example.org', port: 1 }));
});

test.run();
