/** `vagrant/namespaces.sh` as people use it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type RunResult, runWords } from '../helpers/private-host.js';

const DEADLINE_MS = 300_000;

/** With a place of its own for what the script notes. */
export class Script {
  readonly state = join(mkdtempSync(join(tmpdir(), 'sheepfold-vagrant-')), 'state');

  run(...words: string[]): Promise<RunResult> {
    return runWords(
      ['env', `SHEEPFOLD_NAMESPACES=${this.state}`, 'vagrant/namespaces.sh', ...words],
      DEADLINE_MS,
    );
  }

  async must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...words);
    assert.is(code, 0, `namespaces.sh ${words.join(' ')}: ${stderr}${stdout}`);
    return stdout.trim();
  }

  on(machine: string, command: string): Promise<string> {
    return this.must('shell', machine, ...command.split(' '));
  }

  /** First process of each machine. */
  pids(): number[] {
    const lines = readFileSync(join(this.state, 'machines'), 'utf8').trim().split('\n');
    return lines.map((line) => Number(line.split(' ')[1]));
  }

  async end(): Promise<void> {
    await this.run('down');
    rmSync(join(this.state, '..'), { recursive: true, force: true });
  }
}
