import pytest

from tracelift_ray.data.formats import parse_groups, parse_problem
from tracelift_ray.records import RecordError
from tracelift_ray.tasks.code import CodeTask
from tracelift_ray.tasks.statement_examples import statement_examples
from tracelift_ray.types import CodeTests

CODEFORCES = """You are given n numbers. Print their sum.

-----Input-----

The first line contains a number n (1 <= n <= 100). The second line contains n numbers.

-----Output-----

Print the sum of all numbers.

-----Examples-----
Input
3
1 2 3

Output
6

Input
1
5

Output
5



-----Note-----

In the first example the sum is 6.
"""
ATCODER = """Print the square.

Input is given from Standard Input in the following format:
N

Sample Input 1

3

Sample Output 1

9

Three times three is nine, so this is what has to be printed.

Sample Input 2

-4

Sample Output 2

16
"""
FENCED = """### Input
One line with a word.

### Output
The word in reverse order.

## Example 1

**Input**
```
abc
```
**Output**
```
cba
```

**Explanation**
Read from the back, the word is cba.
"""
INLINE = "Print the double.\n\nExample:\nInput: 4\nOutput: 8\nExplanation: twice four is eight."
CODECHEF = """Add.

Input:
The first line has two integers.

Output:
For each case print the sum.

Example Input:
1 2

Example Output:
3
"""
FOR_SAMPLE = "SAMPLE INPUT\n10 2\n\nSAMPLE OUTPUT\n5\n"


@pytest.mark.parametrize(
    ("statement", "inputs", "outputs"),
    [
        (CODEFORCES, ("3\n1 2 3\n", "1\n5\n"), ("6\n", "5\n")),
        (ATCODER, ("3\n", "-4\n"), ("9\n", "16\n")),
        (FENCED, ("abc\n",), ("cba\n",)),
        (INLINE, ("4\n",), ("8\n",)),
        (CODECHEF, ("1 2\n",), ("3\n",)),
        (FOR_SAMPLE, ("10 2\n",), ("5\n",)),
        ("Double it.\r\n\r\nInput\r\n2\r\nOutput\r\n4\r\n", ("2\n",), ("4\n",)),
        ("Input for the sample\n2\nOutput for the sample\n4\n", ("2\n",), ("4\n",)),
        ("Examples\nInput\n1\n\n2\nOutput\nYES\n\nNO\n", ("1\n\n2\n",), ("YES\n\nNO\n",)),
    ],
)
def test_examples_are_read_in_their_usual_forms(
    statement: str, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> None:
    tests = statement_examples(statement)
    assert tests is not None
    assert (tests.kind, tests.inputs, tests.outputs) == ("stdio", inputs, outputs)


@pytest.mark.parametrize(
    "statement",
    [
        "Print the sum of two numbers.",
        "Input\nThe first line contains a number.\n\nOutput\nPrint its square on one line.\n",
        "Example:\nInput: nums = [1, 2]\nOutput: 3\n",
        "Input\n1\nOutput\n2\nInput\n1\nOutput\n3\n",
        "Sample Input 1\n3\n",
        "Input consists of one number. Output is its square.",
    ],
)
def test_where_there_is_no_example_to_run_none_is_made_up(statement: str) -> None:
    assert statement_examples(statement) is None


def test_words_that_begin_a_sentence_are_no_headings() -> None:
    statement = "Example cases follow.\nOutput the sum of the numbers.\nSample Input 1\n1 1\nSample Output 1\n2\n"
    tests = statement_examples(statement)
    assert tests is not None and tests.inputs == ("1 1\n",) and tests.outputs == ("2\n",)


def test_a_problem_without_tests_is_tested_with_the_examples_of_its_statement() -> None:
    record = {"id": "a", "task": "code", "statement": CODEFORCES}
    problem = parse_problem(record)
    assert problem.tests is not None and problem.tests.outputs == ("6\n", "5\n")
    with pytest.raises(RecordError, match="without tests"):
        parse_problem({**record, "statement": "Print the sum of two numbers."})
    assert parse_problem({**record, "tests": {"inputs": ["1\n1\n"], "outputs": ["1\n"]}}).tests == CodeTests(
        "stdio", inputs=("1\n1\n",), outputs=("1\n",)
    )


def test_the_headings_of_a_web_page_with_copy_buttons() -> None:
    text = "Add.\nExamples\ninputCopy\n1 1\noutputCopy\n2\nInput Copy\n2 2\n\nOutput Copy\n4\nNote\nIt is easy."
    tests = statement_examples(text)
    assert tests is not None and (tests.inputs, tests.outputs) == (("1 1\n", "2 2\n"), ("2\n", "4\n"))


def test_a_group_without_tests_is_tested_with_the_examples_of_its_statement() -> None:
    rubric = dict.fromkeys(CodeTask.dimensions, 4) | {"total": 1.0}
    record = {
        "problem_id": "g",
        "problem": CODEFORCES,
        "positive_pool": [{"reasoning": "Add.", "rubric": rubric}],
        "negative_bank": [{"reasoning": "Subtract.", "rubric": rubric}],
        "tests_or_constraints": "n is at most 100",
    }
    tests = parse_groups(record).tests
    assert tests is not None and tests.outputs == ("6\n", "5\n")
    with pytest.raises(RecordError) as raised:
        parse_groups(record | {"problem": "Print the sum."})
    assert raised.value.kind == "no_tests"
