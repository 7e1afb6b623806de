/** What a run leaves on the machine, or does not. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** Processes that run in these process namespaces, each by its id and the time of its start: ids are used again. */
export function processesIn(spaces: readonly string[]): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      return spaces.includes(readlinkSync(`/proc/${pid}/ns/pid`)) ? [startOf(pid)] : [];
    } catch {
      // Not a process, or one that has just ended.
      return [];
    }
  });
}

function startOf(pid: string): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
}

export function stillRuns(process: string): boolean {
  try {
    return startOf(process.split(' ')[0]!) === process;
  } catch {
    // It has ended.
    return false;
  }
}

/** Networks, folders and mounts with a mark in their names. */
export function namesWith(mark: string): string[] {
  const networks = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return [...networks, ...readdirSync(tmpdir()), ...mounts].filter((name) => name.includes(mark));
}
