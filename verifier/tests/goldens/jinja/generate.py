"""Writes cases.json: templates, and what Jinja 2 itself makes of them.

Jinja is set up as the Transformers library does. Run with the `jinja2` package of the
version named in cases.json: python3 generate.py > cases.json
"""

import datetime
import json
import sys

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 3, 9, 14, 5, 6)

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Hello, World!\n"},
        {"role": "assistant", "content": "<think>hm</think>Hi there"},
        {"role": "user", "content": "What's \"up\"?"},
    ],
    "add_generation_prompt": True,
    "tools": None,
    "documents": None,
    "number": 7,
    "negative": -3,
    "ratio": 2.5,
    "yes": True,
    "nothing": None,
    "empty": "",
    "text": "The quick brown fox",
    "accents": "Grüße, ça va?",
    "lines": "one\ntwo\n\nthree",
    "names": ["b", "a", "C", "a"],
    "numbers": [3, 1, 2],
    "nested": [[1, 2], [3, [4, 5]]],
    "entry": {"alpha": 1, "beta": [True, None], "gamma": "x y"},
    "rows": [{"id": 2, "kind": "x"}, {"id": 1, "kind": "y"}, {"id": 3, "kind": "x"}],
}

# Expressions, each rendered between brackets.
EXPRESSIONS = """
1 + 2 * 3
(1 + 2) * 3
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
2 ** 10
2 ** -1
7 / 2
6 / 2
1.0 * 3
0.1 + 0.2
1e20
1e-7
100000000000000000.0
123456.75
1 == 1.0
true == 1
'a' ~ 1 ~ none ~ true
'a' + 'b'
'ab' * 3
3 * 'ab'
[1] + [2, 3]
[0] * 3
1 < 2 < 3
1 < 3 < 2
1 < 2 == true
'a' < 'b'
[1, 2] < [1, 3]
not 1 == 2
not none
1 and 2
0 or 'x'
'' or none
1 if true else 2
1 if false
'x' if yes else 'y' if number else 'z'
'fox' in text
'cat' not in text
2 in numbers
'alpha' in entry
'delta' in entry
'x' in missing
missing
missing ~ 'a'
missing is defined
missing is undefined
number is defined
nothing is none
number is number
ratio is number
yes is number
yes is integer
number is integer
ratio is float
yes is boolean
yes is true
yes is false
text is string
names is string
names is sequence
text is sequence
entry is mapping
names is mapping
names is iterable
number is iterable
entry is iterable
number is even
number is odd
number is divisibleby 7
number is divisibleby(2)
number is eq 7
number is equalto 7
number is gt 3
number is ne 7
'a' is in names
'z' is in names
text is sameas text
none is none
not missing is defined
text is upper
'ABC' is upper
'abc' is lower
number is not none
text|upper
text|lower
text|title
text|capitalize
'hello wORLD-foo bar_baz'|title
'it\\'s'|title
text|length
names|length
entry|length
missing|length
text|reverse
names|reverse|list
names|first
names|last
[]|first
names|join
names|join(', ')
names|join('-')|upper
numbers|join('+')
rows|join(',', attribute='id')
rows|map(attribute='id')|list
rows|map(attribute='id')|join(' ')
rows|map(attribute='none', default=0)|list
names|map('upper')|list
names|map('replace', 'a', 'x')|list
rows|selectattr('kind', 'equalto', 'x')|list|length
rows|selectattr('kind', '==', 'x')|map(attribute='id')|list
rows|rejectattr('kind', 'eq', 'x')|map(attribute='id')|list
rows|selectattr('id')|list|length
rows|selectattr('missing', 'defined')|list
numbers|select('odd')|list
numbers|reject('odd')|list
numbers|select('gt', 1)|list
numbers|select|list
numbers|sort
numbers|sort(reverse=true)
names|sort
names|sort(case_sensitive=true)
rows|sort(attribute='id')|map(attribute='id')|list
rows|sort(attribute='kind', reverse=true)|map(attribute='id')|list
names|unique|list
names|unique|join
numbers|sum
rows|sum(attribute='id')
numbers|min
numbers|max
[]|max
numbers|batch(2)|list
numbers|batch(2, 0)|list
numbers|slice(2)|list
entry|items|list
entry|dictsort
entry.items()|list
entry.keys()|list
entry.values()|list
entry|list
entry|tojson
entry|tojson(indent=2)
entry|tojson(indent=4)
nested|tojson
nested|tojson(indent=1)
text|tojson
accents|tojson
accents|tojson(ensure_ascii=true)
"a\\"b\\\\c\\nd\\te"|tojson
'<b>&'|tojson
none|tojson
true|tojson
1.5|tojson
{}|tojson
[]|tojson
[]|tojson(indent=2)
{'b': 1, 'a': 2}|tojson(sort_keys=true)
{'a': [1, {'b': 2}]}|tojson(separators=(',', ':'))
missing|tojson
missing|default('d')
empty|default('d')
empty|default('d', true)
nothing|default('d')
nothing|d('d', boolean=true)
'42'|int
'x'|int
'x'|int(9)
'3.9'|int
3.9|int
'2.5'|float
'x'|float
-5|abs
2.567|round(2)
2.5|round
3.5|round
2.4|round(method='ceil')
2.6|round(0, 'floor')
7|string
names|string
'  pad '|trim
'xxaxx'|trim('x')
'<a href="x">\\'&'|escape
'<b>'|e
'<b>'|safe
lines|indent
lines|indent(2)
lines|indent(2, true)
lines|indent(2, true, true)
lines|indent('> ')
text|wordcount
text|replace('quick', 'slow')
text|replace('o', '0', 1)
'%s is %d'|format('x', 3)
'%s-%s' % ('a', 'b')
'%05d' % 42
'%.2f' % 3.14159
'%x' % 255
'%c%c' % (95, 95)
'100%%' % ()
'{} and {}'.format('a', 'b')
'{0}{1}{0}'.format('a', 'b')
'{x}!'.format(x='y')
'{{}}'.format()
'{0[1]}'.format(names)
text.upper()
text.lower()
text.title()
"it's o'clock".title()
text.capitalize()
text.swapcase()
text.split()
text.split(' ')
text.split(' ', 1)
text.split(' ', maxsplit=2)
text.rsplit(' ', 1)
'a  b'.split(' ')
' a  b '.split()
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
'a,b'.split(',')[-1]
lines.splitlines()
lines.splitlines(true)
'a\\r\\nb'.splitlines()
text.startswith('The')
text.startswith(('A', 'The'))
text.endswith('fox')
text.endswith(('x', 'y'))
text.find('quick')
text.find('zzz')
text.rfind('o')
text.index('q')
text.index('zzz')
text.count('o')
text.count('')
text.replace(' ', '_')
text.replace(' ', '_', 1)
text.replace('', '-')
'  x '.strip()
'  x '.lstrip()
'  x '.rstrip()
'xxaxyx'.strip('xy')
'xxaxx'.lstrip('x')
'-'.join(names)
', '.join(['a'])
'-'.join(numbers)
'prefix-x'.removeprefix('prefix-')
'x.txt'.removesuffix('.txt')
'x'.removesuffix('.txt')
'12'.isdigit()
'1a'.isdigit()
''.isdigit()
'ab'.isalpha()
'a1'.isalnum()
' \\n'.isspace()
'AB'.isupper()
'ab1'.islower()
'7'.zfill(3)
'-7'.zfill(4)
'x'.center(4)
'xy'.center(5, '*')
'x'.ljust(3) ~ '|'
'x'.rjust(3)
'a=b=c'.partition('=')|list
'a=b=c'.rpartition('=')|list
'abc'.partition('x')|list
accents.upper()
accents|length
accents[2]
accents[::-1]
text[0]
text[-1]
text[100]
text[4:9]
text[:3]
text[-3:]
text[::2]
text[::-1]
text[5:1]
text[5:1:-1]
text[-100:100]
names[1:]
names[::-1]
names[-2]
names[10]
names[0:3:2]
numbers[:-1]
nested[1][1][0]
nested.1.0
entry.alpha
entry['alpha']
entry.delta
entry['delta']
entry.delta.epsilon
missing.x
missing['x']
missing()
nothing.x
number.x
entry.get('alpha')
entry.get('delta')
entry.get('delta', 5)
entry['items']
{'items': 1}['items']
{'a': 1, 'a': 2}
{1: 'x'}[1]
{'a': 1}.items()|list
dict(a=1, b='x')
dict({'a': 1}, b=2)
[1, 'two', 3.0, none, true, 'it\\'s', "q\\"q", 'both\\'"']
{'k': 'v', 'l': [1]}
['a\\nb\\\\c']
range(3)|list
range(1, 10, 3)|list
range(3, 0, -1)|list
range(0)|list
namespace(a=1).a
namespace(a=1).b
messages[0].content
messages[0]['role']
messages[-1].content|trim
messages|length
messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|map('trim')|list
messages[1:]|length
messages[::-1][0].role
(messages|last).role
messages[2].content.split('</think>')[-1]
messages[2].content.split('</think>')[0].split('<think>')[-1].strip()
'</think>' in messages[2].content
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y')
strftime_now('%A, %B %d, %Y %H:%M:%S')
strftime_now('%I %p %j %y')
raise_exception('no')
'a' 'b'
'\\x41\\u00e9\\n\\t|'
'\\101'
"tab\\tq"
1_000
-number
- -3
--3
2 + -3
-2 ** 2
10 - 3 - 2
2 ** 3 ** 2
1 ~ 2 + 3
'a' ~ 'b' == 'ab'
not true or true
not (true or true)
true and false or true
1 in [1] and 2 in [2]
1 in [1] == true
(1, 2)|length
[1, 2, ]
{'a': 1, }
1 if missing else 2
missing == none
missing == missing
none == false
'1' == 1
[1, 2] == [1, 2]
{'a': 1} == {'a': 1}
[] == []
names|list == names
'a' in 'abc' in ['abc']
nothing is not defined
names.append('x')
entry.update({'a': 1})
''.__class__
''['__class__']
''|attr('__class__')
entry.__init__
1 + 'a'
'a' + 1
none + 1
1 // 0
1 % 0
'x' is unknown_test
'x'|unknown_filter
number|length
none|length
number[0]
none['x']
1 < 'a'
none < 1
[1] + 1
'a' in 1
1 in 'abc'
range(1, 2, 0)|list
(none).x.y
""".strip("\n").split("\n")

STATEMENTS = [
    "{% for m in messages %}{{ m.role }}:{{ m.content|trim }}\n{% endfor %}",
    "{% for m in messages %}\n{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}\n{% endfor %}",
    "{% for n in numbers %}{{ loop.previtem }}<{{ n }}>{{ loop.nextitem }} {% endfor %}",
    "{% for n in numbers %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for n in [1, 1, 2, 2, 1] %}{% if loop.changed(n) %}{{ n }}{% endif %}{% endfor %}",
    "{% for n in [] %}x{% else %}none{% endfor %}",
    "{% for n in missing %}x{% else %}none{% endfor %}",
    "{% for n in number %}x{% endfor %}",
    "{% for n in numbers if n > 1 %}{{ n }}{{ loop.index }}{{ loop.length }},{% endfor %}",
    "{% for n in numbers if n > 9 %}x{% else %}empty{% endfor %}",
    "{% for k, v in entry.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in entry %}{{ k }};{% endfor %}",
    "{% for (a, b) in [[1, 2], [3, 4]] %}{{ a }}{{ b }};{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for c in 'abc' %}{{ c }}.{% endfor %}",
    "{% for n in range(10) %}{% if n == 2 %}{% continue %}{% endif %}{% if n == 5 %}{% break %}{% endif %}{{ n }}{% endfor %}",
    "{% for a in [1, 2] %}{% for b in [3, 4] %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{{ loop.index }}{% endfor %}",
    "{% for x in nested recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}",
    "{% if number > 5 %}big{% elif number > 3 %}mid{% else %}small{% endif %}",
    "{% if number > 9 %}big{% elif number > 3 %}mid{% else %}small{% endif %}",
    "{% if number > 9 %}big{% elif number > 8 %}mid{% else %}small{% endif %}",
    "{% if empty %}a{% elif nothing %}b{% elif missing %}c{% else %}d{% endif %}",
    "{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set x = 1 %}{% for n in numbers %}{% set x = n %}{% endfor %}{{ x }}",
    "{% for n in numbers %}{{ x }}{% set x = n %}{{ x }};{% endfor %}",
    "{% set ns = namespace(x=0) %}{% for n in numbers %}{% set ns.x = ns.x + n %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = 'b' %}{{ ns.a }}{{ ns.c }}",
    "{% set ns = namespace(found=false) %}{% for m in messages if m.role == 'user' %}{% set ns.found = true %}{% endfor %}{{ ns.found }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = [1, 2] %}{{ a }}{{ b }}",
    "{% set x %}captured {{ number }}{% endset %}[{{ x }}]",
    "{% set x | upper %}captured{% endset %}[{{ x }}]",
    "{% set x | replace('a', 'b') | upper %}captured{% endset %}[{{ x }}]",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% set a = 5 %}{% with a = 1 %}{{ a }}{% set a = 2 %}{{ a }}{% endwith %}{{ a }}",
    "{% filter upper %}abc {{ text }}{% endfilter %}",
    "{% filter replace('a', 'x') | upper %}banana{% endfilter %}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }} {{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m(a) %}{{ a }}{{ caller() }}{% endmacro %}{% call m(1) %}body{% endcall %}",
    "{% macro m(a) %}{{ caller(a, 2) }}{% endmacro %}{% call(x, y) m(1) %}{{ x }}{{ y }}{% endcall %}",
    "{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(3) }}",
    "{% macro m() %}{{ number }}{{ x }}{% endmacro %}{% set x = 9 %}{{ m() }}",
    "{% set x = 9 %}{% macro m() %}{{ x }}{% set x = 1 %}{% endmacro %}{{ m() }}{{ x }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro m() %}  x  {% endmacro %}[{{ m().strip() }}]",
    "{% macro m() %}x{% endmacro %}{{ m() ~ m() | upper }}",
    "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% for n in numbers %}{% macro m() %}{{ n }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% raw %}{{ not }} {% rendered %}{% endraw %}",
    "a{# comment #}b",
    "a {#- comment -#} b",
    "  {# comment #}\nb",
    "{% if true %}\nyes\n{% endif %}\nend",
    "  {% if true %}\n  yes\n  {% endif %}\nend",
    "x  {% if true %}\n  yes\n  {% endif %}\nend",
    "{%- if true -%}\n  yes\n  {%- endif -%}\n end",
    "{%+ if true %}\n yes{%+ endif %}",
    "  {%+ if true %}yes{% endif %}",
    "a\n{{- ' b ' -}}\n c",
    "{{ 'a' }}\n{{ 'b' }}\n",
    "line\n\n",
    "line\r\nnext\r\n{% if true %}\r\nx\r\n{% endif %}",
    "\n{% for n in numbers %}\n  {{ n }}\n{% endfor %}\n",
    "{% for n in numbers -%}\n  {{ n }}\n{%- endfor %}",
    "{{ '{{' }} {{ '%}' }}",
    "{{ \"}}\" }}",
    "{ {{ 1 }} }",
    "{{ {'a': {'b': 1}}.a.b }}",
    "{{ [1, 2][0] }}{{ 'abc'[1] }}",
    "{% set x = [] %}{% for n in numbers %}{% set x = x + [n] %}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=[]) %}{% for n in numbers %}{% set ns.x = ns.x + [n * 2] %}{% endfor %}{{ ns.x }}",
    "{% set c = cycler('odd', 'even') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.next() }}",
    "{% set j = joiner('|') %}{% for n in numbers %}{{ j() }}{{ n }}{% endfor %}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message is defined %}{% set content = '<<SYS>>' + system_message + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}[{{ content.strip() }}]{% endfor %}",
    "{{ messages[5].role }}",
    "{{ messages[5] }}",
    "{% for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' -}}{% endfor %}",
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "{% if tools is not none and tools is iterable %}t{% else %}no{% endif %}",
    "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{{ index }}{{ message.role }};{%- endfor %}",
    "{% block title %}inside {{ number }}{% endblock %}",
    "{% autoescape false %}{{ '<' }}{% endautoescape %}",
    "{{ super() }}",
    "{% set x = 1 -%}\n  {{ x }}",
    "{% unknown %}",
    "{% for %}",
    "{{ 1 + }}",
    "{{ 'unclosed }}",
    "{% if true %}open",
    "{{ a b }}",
    "{% endif %}",
    "{{ foo(**{'a': 1}) }}",
    "{{ dict(**{'a': 1}) }}",
    "{% set x = 'outer' %}{% for n in [1] %}{{ x }}{% set x = 'inner' %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(a=1) %}{% macro m() %}{% set ns.a = 2 %}{% endmacro %}{{ m() }}{{ ns.a }}",
    "{{ loop }}",
    "{% set loop = 1 %}",
    "{% set messages = messages[1:] %}{{ messages|length }}",
    "{% for message in messages %}{% endfor %}{{ message is defined }}",
    "{{ [1,2,3]|map('string')|join(',') }}",
    "{{ rows|map(attribute='kind')|unique|join('/') }}",
    "{{ entry | dictsort(reverse=true) }}",
    "{{ entry | dictsort(by='value') }}",
    "{{ [3,1]|sort|first }}",
    "{% set d = {'x': {'y': [10, 20]}} %}{{ d.x.y[1] }}{{ d['x']['y']|last }}{{ d.x.z is defined }}",
    "{% if 'role' in messages[0] and messages[0].role in ['system', 'developer'] %}s{% endif %}",
    "{% for m in messages %}{% if not loop.first and m.role == 'user' %}{{ loop.index }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if loop.last %}{{ m.content }}{% endif %}{% endfor %}",
    "{{ 'a\nb' }}",
    "{{ messages | map(attribute='role') | select('in', ['user', 'system']) | list }}",
    "{{ (messages | selectattr('role', 'in', ['user']) | list)[0].content }}",
    "{{ messages | selectattr('role', 'equalto', 'tool') | list | length > 0 }}",
    "{{ messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | join(',') }}",
    "{%- macro json_spec(p, required=[]) -%}{%- for k, v in p.items() -%}{{ k }}{{ '!' if k in required }}:{{ v|tojson }}{{ ', ' if not loop.last }}{%- endfor -%}{%- endmacro -%}{{ json_spec(entry, ['alpha']) }}",
]


def environment():
    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    result = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    result.filters["tojson"] = tojson
    result.globals["raise_exception"] = raise_exception
    result.globals["strftime_now"] = NOW.strftime
    return result


def case(env, template):
    try:
        return {"template": template, "output": env.from_string(template).render(**CONTEXT)}
    except Exception as error:
        return {"template": template, "error": type(error).__name__}


def main():
    env = environment()
    templates = ["[{{ " + expression + " }}]" for expression in EXPRESSIONS] + STATEMENTS
    cases = [case(env, template) for template in templates]
    document = {"jinja2": jinja2.__version__, "now": NOW.isoformat(), "context": CONTEXT, "cases": cases}
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False, sort_keys=True)
    print()


main()
