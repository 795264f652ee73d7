import { describe, expect, it } from 'vitest'
import { renderUnit } from '../../src/core/systemd-unit.ts'

const unit = renderUnit({
  command: ['/usr/bin/node', '/opt/my "apps"/100% $HOME/bin.js', 'up'],
  dataFolder: '/var/lib/mycelium',
})

describe('unit of systemd', () => {
  it('ends the daemon alone, and keeps what hosts of VMs need', () => {
    expect(unit).toMatch(/^KillMode=process$/m)
    expect(unit).toMatch(/^RuntimeDirectoryPreserve=yes$/m)
    expect(unit).toMatch(/^NoNewPrivileges=yes$/m)
  })

  it('passes each word of the command as it is', () => {
    expect(unit).toContain('ExecStart=/usr/bin/node "/opt/my \\"apps\\"/100%% $$HOME/bin.js" up\n')
  })
})
