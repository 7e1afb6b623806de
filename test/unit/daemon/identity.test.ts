import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { loadIdentity, readBootId, readHostId } from '../../../src/daemon/identity.js';

const test = suite<{ dir: string }>('identity');

test.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'sheepfold-identity-'));
});

test.after.each((context) => {
  rmSync(context.dir, { recursive: true, force: true });
});

test('an identity is made once and found again', ({ dir }) => {
  const made = loadIdentity(join(dir, 'deep', 'down'));
  assert.match(made.nodeId, /^[0-9a-f]{16}$/);
  assert.equal(loadIdentity(join(dir, 'deep', 'down')), made);
  assert.is(statSync(join(dir, 'deep', 'down')).mode & 0o077, 0, 'nobody else may look into it');
});

test('two directories are two nodes', ({ dir }) => {
  assert.is.not(loadIdentity(join(dir, 'one')).nodeId, loadIdentity(join(dir, 'two')).nodeId);
});

test('an identity of another version is refused and left as it is', ({ dir }) => {
  const file = join(dir, 'node.json');
  for (const text of ['{"nodeId":"0123456789abcdef","version":2}', '{"nodeId":"../../etc","version":1}']) {
    writeFileSync(file, text);
    assert.throws(
      () => loadIdentity(dir),
      (error: unknown) => AppError.isCode(error, 'version'),
    );
    assert.is(readFileSync(file, 'utf8'), text);
  }
});

test('a damaged identity is refused: a new one would be another node', ({ dir }) => {
  writeFileSync(join(dir, 'node.json'), '{"nodeId"');
  assert.throws(
    () => loadIdentity(dir),
    (error: unknown) => AppError.isCode(error, 'system'),
  );
});

test('the machine and its boot can be told apart', () => {
  assert.match(readBootId(), /^[0-9a-f-]{36}$/);
  assert.ok(readHostId().length > 0);
});

test.run();
