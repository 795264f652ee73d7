import { expect, it } from 'vitest'
import { COMMANDS, isCommandName } from '../src/command.ts'
import { openApiDocument } from '../src/openapi.ts'

interface Operation {
  readonly operationId: string
  readonly requestBody: { readonly content: Readonly<Record<string, { schema: object }>> }
  readonly responses: Readonly<Record<string, object>>
}

it('has one operation for each command, with the shapes of what goes in and comes out', () => {
  const document = openApiDocument('1.2.3') as {
    readonly openapi: string
    readonly paths: Readonly<Record<string, { readonly post?: Operation }>>
  }
  expect(document.openapi).toBe('3.1.0')
  const operations = Object.values(document.paths).flatMap(({ post }) => (post ? [post] : []))
  expect(operations.map(({ operationId }) => operationId)).toEqual(Object.keys(COMMANDS))
  for (const { requestBody, responses } of operations) {
    expect(requestBody.content['application/json']?.schema).toMatchObject({ type: 'object' })
    expect(Object.keys(responses)).toEqual(['200', '400', '409', '500', '503'])
  }
  // What has a default may be left out.
  const { post } = document.paths['/v1/commands/token.create'] ?? {}
  expect(post?.requestBody.content['application/json']?.schema).not.toHaveProperty('required')
})

it.each([
  ['init', true],
  ['toString', false],
  ['__proto__', false],
])('knows whether %s is a command: %s', (name, is) => {
  expect(isCommandName(name)).toBe(is)
})
