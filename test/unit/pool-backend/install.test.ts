/** The files by which virtstoraged's place is taken and given back, below a directory that stands for a host. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { install, uninstall } from '../../../pool-backend/install.js';
import { AppError } from '../../../src/base/errors.js';

const test = suite<{ root: string }>('install');
test.before.each((context) => {
  context.root = mkdtempSync(join(tmpdir(), 'sheepfold-root-'));
});
test.after.each(({ root }) => rmSync(root, { recursive: true, force: true }));

const UNITS = 'etc/systemd/system';
const files = (root: string): string[] =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();

test('what is installed is said, and removed again without a trace', ({ root }) => {
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nlibvirt:x:110:alice\n');
  const told = install({ root, upstream: true, program: '/opt/pools.js' });
  const made = files(root).filter((name) => name !== 'etc/group');
  assert.equal(made, [
    `${UNITS}/sheepfold-pools.service`,
    `${UNITS}/virtstoraged-ro.socket.d/sheepfold-pools.conf`,
    `${UNITS}/virtstoraged.socket.d/sheepfold-pools.conf`,
  ]);
  for (const name of made) assert.ok(told.includes(`wrote ${join(root, name)}`), name);
  const unit = readFileSync(join(root, made[0]!), 'utf8');
  assert.match(
    unit,
    ' /opt/pools.js serve --socket /run/libvirt/virtstoraged-sock --socket-mode 0660 --group libvirt ',
  );
  assert.match(unit, '--upstream /run/libvirt/virtstoraged-aside/virtstoraged-sock ');
  const dropIn = readFileSync(join(root, made[2]!), 'utf8');
  assert.match(dropIn, 'ListenStream=\nListenStream=/run/libvirt/virtstoraged-aside/virtstoraged-sock\n');
  const removed = uninstall({ root });
  for (const name of made) assert.ok(removed.includes(`removed ${join(root, name)}`), name);
  assert.equal(files(root), ['etc/group']);
  assert.not(existsSync(join(root, UNITS, 'virtstoraged.socket.d')));
  assert.equal(uninstall({ root }), ['nothing is installed']);
});

test('without the group libvirt only root may write, and without an upstream no socket moves', ({ root }) => {
  install({ root, upstream: false, program: '/opt/pools.js' });
  assert.equal(files(root), [`${UNITS}/sheepfold-pools.service`]);
  const unit = readFileSync(join(root, UNITS, 'sheepfold-pools.service'), 'utf8');
  assert.match(unit, '--socket-mode 0600 --readonly-socket');
  assert.not.match(unit, '--upstream');
});

test('a file of somebody else is neither replaced nor removed', ({ root }) => {
  const path = join(root, UNITS, 'sheepfold-pools.service');
  mkdirSync(join(root, UNITS), { recursive: true });
  writeFileSync(path, '[Unit]\n');
  const refused = (error: unknown) => AppError.isCode(error, 'exists');
  assert.throws(() => install({ root, upstream: true, program: '/opt/pools.js' }), refused);
  assert.throws(() => uninstall({ root }), refused);
  assert.equal(files(root), [`${UNITS}/sheepfold-pools.service`]);
});

test.run();
