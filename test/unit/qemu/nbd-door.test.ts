import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeDoors, VdiInfo } from '../../../src/control/api.js';
import { exportOf, nbdOptions, nbdUrl, printedNbdUrl } from '../../../src/qemu/nbd-door.js';

const working = { name: 'x y', snapshot: false, snapId: 0 } as VdiInfo;
const snapshot = { name: 'x y', snapshot: true, snapId: 3 } as VdiInfo;
const doors: NodeDoors = { nbdPort: 10809, nbdTls: 'off' };
const at = (host: string) => ({ host, port: 7000 });

test('a volume and a snapshot are exports of the sheep that was named', () => {
  assert.is(nbdUrl(exportOf(at('h'), doors, working)), 'nbd://h:10809/x%20y');
  assert.is(nbdUrl(exportOf(at('h'), doors, snapshot)), 'nbd://h:10809/x%20y%403');
  assert.is(printedNbdUrl(exportOf(at('h'), doors, snapshot)), 'nbd://h:10809/x y@3');
  assert.is(nbdUrl(exportOf(at('::1'), doors, working)), 'nbd://[::1]:10809/x%20y');
});

test('the unix socket is taken when it is here and the sheep is too', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-door-'));
  const path = join(folder, 'nbd.sock');
  const both = { ...doors, nbdSocket: path };
  // Not there: the port that was forwarded leads to another host.
  assert.is(nbdUrl(exportOf(at('localhost'), both, working)), 'nbd://localhost:10809/x%20y');
  writeFileSync(path, '');
  assert.is(nbdUrl(exportOf(at('127.0.0.1'), both, working)), `nbd+unix:///x%20y?socket=${path}`);
  assert.is(nbdUrl(exportOf({ path: '/s' }, both, working)), `nbd+unix:///x%20y?socket=${path}`);
  assert.is(nbdUrl(exportOf(at('h'), both, working)), 'nbd://h:10809/x%20y');
  rmSync(folder, { recursive: true });
});

test('a sheep named by its unix socket has its port on this host', () => {
  assert.is(nbdUrl(exportOf({ path: '/s' }, doors, working)), 'nbd://127.0.0.1:10809/x%20y');
});

test('a sheep without an NBD door is told', () => {
  assert.throws(() => exportOf(at('h'), { ...doors, nbdPort: 0 }, working), /no NBD door/);
});

test('options ride out a restart of the sheep', () => {
  assert.equal(nbdOptions(exportOf(at('h'), doors, working), 'tls0'), [
    ['driver', 'nbd'],
    ['server.type', 'inet'],
    ['server.host', 'h'],
    ['server.port', '10809'],
    ['export', 'x y'],
    ['reconnect-delay', '600'],
    ['tls-creds', 'tls0'],
  ]);
});

test.run();
