import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLog } from '../../../src/base/log.js';
import { levelNumber, logLevels, parseLogLevel } from '../../../src/base/log-level.js';

function withFile(body: (file: string, words: (name?: string) => string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-log-'));
  const messages = (name = 'log'): string =>
    readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { msg: string }).msg)
      .join(' ');
  try {
    body(join(folder, 'log'), messages);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('levels have the names and numbers of syslog', () => {
  assert.is(logLevels.length, 8);
  assert.is(parseLogLevel('debug'), 'debug');
  assert.is(parseLogLevel('3'), 'err');
  assert.is(parseLogLevel('8'), undefined);
  assert.is(parseLogLevel('loud'), undefined);
  assert.is(levelNumber('info'), 6);
});

test('the level is changed while the log is in use, in children too', () =>
  withFile((file, words) => {
    const control = openLog({ file });
    const child = control.logger.child('part', { node: 1 });
    child.debug({}, 'a');
    child.info({}, 'b');
    control.level = 'debug';
    child.debug({}, 'c');
    control.level = 'err';
    child.warn({}, 'd');
    child.error({}, 'e');
    control.level = 'emerg';
    child.error({}, 'f');
    assert.is(words(), 'b c e');
  }));

test('an area that is debugged logs everything', () =>
  withFile((file, words) => {
    const control = openLog({ file, debugAreas: ['nbd'], level: 'err' });
    control.logger.child('nbd').debug({}, 'a');
    control.logger.child('store').info({}, 'b');
    assert.is(words(), 'a');
  }));

test('a file that was renamed is opened anew', () =>
  withFile((file, words) => {
    const control = openLog({ file });
    control.logger.info({}, 'a');
    renameSync(file, `${file}.1`);
    control.logger.info({}, 'b');
    control.reopen();
    control.logger.info({}, 'c');
    assert.is(words('log.1'), 'a b');
    assert.is(words(), 'c');
  }));

test.run();
